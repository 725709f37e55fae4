"""The wire format, the requests, the keys and the connection: what device and monitor share."""
