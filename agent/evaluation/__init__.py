"""`ecg-agent evaluate`: whole records through the stages of the monitor, its beats and alarms scored by EC57."""
