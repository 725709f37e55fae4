"""A ward over several hosts: what follows which beds where, and who restarts what dies. docs/fleet.md has the rules."""
