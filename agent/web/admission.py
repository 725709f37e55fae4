"""Who is let in: by the names in a request, the token, and how often somebody was wrong.

A page of another origin may send requests from the browser of someone on this machine, and a name of its own may be
made to lead here. Both show in the headers that browsers set, and no page can: Host, Origin, Sec-Fetch-Site.
"""

import asyncio
from collections.abc import Mapping
from ipaddress import IPv6Address, ip_address, ip_network
from time import monotonic

from starlette.types import Scope

from agent.core.rate_limit import TokenBucket
from agent.web.web_address import WebAccess

FAILURES_AT_ONCE = 5
FAILURE_PAUSE_S = 10.0
"""Seconds that earn another attempt after FAILURES_AT_ONCE wrong tokens."""
WRONG_WAIT_S = 0.5
"""How long the answer to a wrong token waits beyond that."""
MOST_ADDRESSES = 1024
"""Addresses whose failures are remembered."""
LARGEST_HEAD = 16_384
"""Bytes of the request line and the headers."""
BEARER = "bearer "


class RefusalError(Exception):
    """A request that is refused: the `status` of HTTP, and why. 4000 is added to it as the code of a WebSocket."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status, self.reason = status, reason


class Admission:
    """Checks requests. Used in the thread of the server alone."""

    def __init__(self, access: WebAccess) -> None:
        self.access = access
        self._failures: dict[str, TokenBucket] = {}

    def check_host(self, headers: Mapping[str, str]) -> None:
        """Check that a request is meant for this machine. Raises RefusalError."""
        if not self.access.knows_host(headers.get("host", "")):
            raise RefusalError(403, "this name is not one of this machine's (web.hosts)")

    def check_origin(self, headers: Mapping[str, str]) -> None:
        """Check that a request comes from our own page, or from no browser. Raises RefusalError."""
        own = f"{self.access.scheme}://{headers.get('host', '').lower()}"
        site = headers.get("sec-fetch-site", "none")
        if headers.get("origin", own).lower() != own or site not in ("none", "same-origin"):
            raise RefusalError(403, "requests of other pages are refused")

    async def check_token(self, token: str | None, client: str) -> None:
        """Check the token of a client at this address; without one of ours nobody needs it. Raises RefusalError.

        A right one always passes: others at the same address, behind a proxy for one, may be wrong as often as they
        like. Their answers wait.
        """
        if self.access.token is None or (token is not None and self.access.is_token(token)):
            return
        if token is None:
            raise RefusalError(401, "a token is needed")
        if not self._bucket(client).take(monotonic()):
            await asyncio.sleep(WRONG_WAIT_S)
            raise RefusalError(429, "too many wrong tokens: wait a little")
        raise RefusalError(401, "the token is wrong")

    def check_head(self, scope: Scope) -> None:
        """Check the size of a request's head, and that its content has one length. Raises RefusalError."""
        size = len(scope.get("raw_path") or b"") + len(scope.get("query_string") or b"")
        names = []
        for name, value in scope["headers"]:
            size += len(name) + len(value) + 4
            names.append(name.lower())
        if size > LARGEST_HEAD:
            raise RefusalError(431, f"the head of the request is larger than {LARGEST_HEAD} bytes")
        if b"transfer-encoding" in names and b"content-length" in names:  # a proxy might read it otherwise than we do
            raise RefusalError(400, "a request has Content-Length or Transfer-Encoding, not both")

    def check_deed(self, headers: Mapping[str, str]) -> None:
        """Check that a request may change something, apart from its token. Raises RefusalError."""
        if self.access.token is None:
            raise RefusalError(403, "read only: the monitor was started without a token (--web-token)")
        if headers.get("x-ecg-agent") != "1":
            raise RefusalError(403, "the header X-Ecg-Agent: 1 is missing")
        if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            raise RefusalError(415, "the content must be application/json")

    def _bucket(self, client: str) -> TokenBucket:
        """Return the budget of failures of an address; those of a network of IPv6 share one."""
        network = _network_of(client)
        bucket = self._failures.pop(network, None)
        if bucket is None:
            bucket = TokenBucket(FAILURES_AT_ONCE, FAILURE_PAUSE_S, monotonic())
            if len(self._failures) >= MOST_ADDRESSES:
                del self._failures[next(iter(self._failures))]
        self._failures[network] = bucket
        return bucket


def bearer_token(headers: Mapping[str, str]) -> str | None:
    """Return the token of an Authorization header."""
    text = headers.get("authorization", "")
    return text[len(BEARER) :].strip() if text.lower().startswith(BEARER) else None


def _network_of(client: str) -> str:
    try:
        ip = ip_address(client.partition("%")[0])
    except ValueError:
        return client
    return str(ip_network((ip, 64), strict=False)) if isinstance(ip, IPv6Address) else client
