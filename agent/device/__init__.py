"""The device side of the link: what sends packets, keeps the latest of them, and answers requests."""
