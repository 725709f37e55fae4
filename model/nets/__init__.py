"""The nets, and their checkpoints."""
