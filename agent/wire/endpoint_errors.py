"""Why ZeroMQ takes no endpoint, in words that say what to write instead."""

import errno

import zmq

EXAMPLE = "tcp://127.0.0.1:5555"
REASONS = {
    errno.EADDRINUSE: "is in use: another simulator running? Choose another one with --endpoint",
    errno.EADDRNOTAVAIL: f"is not an address of this machine: try {EXAMPLE}",
    errno.ENODEV: f"is not an address of this machine: try {EXAMPLE}",
    errno.EACCES: "may not be bound by this user: choose a port above 1023 with --endpoint",
    errno.EINVAL: f"is malformed: write it like {EXAMPLE}",
    errno.EPROTONOSUPPORT: f"names a transport that is not supported: write it like {EXAMPLE}",
}


def endpoint_refusal(endpoint: str, error: zmq.ZMQError) -> str:
    """Return why an endpoint cannot be bound or connected.

    >>> endpoint_refusal("foo", zmq.ZMQError(errno.EINVAL))
    'endpoint foo is malformed: write it like tcp://127.0.0.1:5555'
    """
    return f"endpoint {endpoint} {REASONS.get(error.errno or 0, f'fails: {error}')}"
