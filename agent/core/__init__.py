"""What every folder above shares: messages, settings, clock."""
