"""Where results go: text, JSON lines, the screen, Prometheus."""
