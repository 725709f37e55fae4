"""What a monitor says to which no stream has come: what is known of the reason, and what to do."""

from agent.core.views import LinkView
from agent.link.link_receiver import LinkReceiver

MOST_WAITED_S = 1.0
"""Most seconds of one turn of the loop that count as waiting for a stream."""
START_HINT = "start one (ecg-agent simulate record 100)"


def no_stream_text(link: LinkReceiver, view: LinkView, timeout_s: float, is_own: bool) -> str:
    """Return why nothing has come within `timeout_s` seconds; `is_own`: the command is its own device."""
    endpoint = link.endpoint
    if is_own:
        trouble = f": {view.trouble}" if view.trouble else ""
        return f"our device at {endpoint} sends nothing within {timeout_s:g} s{trouble}: start this command again"
    if view.trouble:
        hint = "" if link.refused else f" {START_HINT}" if view.trouble.endswith("?") else f"; {START_HINT}"
        return f"no stream from {endpoint} within {timeout_s:g} s: {view.trouble}{hint}"
    if view.round_trip_ms is not None:
        return f"{endpoint} answers, but sends nothing within {timeout_s:g} s: check --bed, or wait longer"
    if link.rejected:
        return f"only malformed packets from {endpoint} within {timeout_s:g} s: is it a device of ecg-agent?"
    return f"no stream from {endpoint} within {timeout_s:g} s: {START_HINT}, or check --endpoint and --bed"
