"""The monitor's end of the wire: every sample of every bed once and in order, fetched again, or declared missing."""
