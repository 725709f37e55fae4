"""Several devices in one process: each bed is sent by one of them."""

import contextlib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Self

from agent.core.config import Config
from agent.core.messages import Chunk, End
from agent.device.backfill_server import ReplayHandler
from agent.device.bundle_writer import P
from agent.device.publisher import PacketPublisher
from model.errors import ConfigError

MOST_DEVICES = 64
PORTS_APART = 2
"""Each device takes two ports: packets, and the backfill channel."""


class PublisherGroup:
    """Sends the messages of each bed by its own of several devices, which bind ports one after the other.

    `beds`: a list of beds for each device. It stands for a single publisher.
    """

    def __init__(self, config: Config, lossless: bool, beds: Sequence[Sequence[str]], replay: ReplayHandler) -> None:
        """Raises what a `PacketPublisher` raises, and ConfigError for a number of devices that makes no sense."""
        if not 1 <= len(beds) <= MOST_DEVICES or not all(beds):
            raise ConfigError(f"--hosts {len(beds)} makes no sense: give 1 to {MOST_DEVICES}, and a bed for each")
        self.publishers: list[PacketPublisher] = []
        try:
            for number in range(len(beds)):
                endpoint = _following_endpoint(config.link.endpoint, number)
                own = replace(config, link=replace(config.link, endpoint=endpoint))
                self.publishers.append(PacketPublisher(own, lossless, replay=replay))
        except BaseException:
            self.close()
            raise
        self._of_bed = {
            bed.encode(): publisher for own, publisher in zip(beds, self.publishers, strict=True) for bed in own
        }
        self._only = self.publishers[0] if len(self.publishers) == 1 else None
        self.linger_s = self.publishers[0].linger_s

    def send(self, frames: Sequence[bytes]) -> bool:
        """Send one message by the device of its bed; return False where it has no room."""
        return self._of_bed[frames[0]].send(frames)

    def send_packets(self, packets: Sequence[P], sent_s: float) -> list[P]:
        """Send what is due together, each by the device of its bed; return what has no room."""
        if self._only is not None:
            return self._only.send_packets(packets, sent_s)
        shares: dict[PacketPublisher, list[P]] = {}
        for packet in packets:
            shares.setdefault(self._of_bed[packet.message.bed.encode()], []).append(packet)
        return [left for publisher, share in shares.items() for left in publisher.send_packets(share, sent_s)]

    def keep(self, message: Chunk | End, stop: int, sent_s: float) -> None:
        """Keep what was sent."""
        (self._only or self._of_bed[message.bed.encode()]).keep(message, stop, sent_s)

    def subscribed(self, beds: Iterable[str]) -> int:
        """Return how many of the beds have a subscriber."""
        shares: dict[PacketPublisher, list[str]] = {}
        for bed in beds:
            shares.setdefault(self._of_bed[bed.encode()], []).append(bed)
        return sum(publisher.subscribed(share) for publisher, share in shares.items())

    def refusals(self) -> list[str]:
        """Return who was not admitted, or not answered, since the last call, in words."""
        return [line for publisher in self.publishers for line in publisher.refusals()]

    def close(self) -> None:
        """Close all devices."""
        with contextlib.ExitStack() as stack:
            for publisher in self.publishers:
                publisher.linger_s = min(publisher.linger_s, getattr(self, "linger_s", publisher.linger_s))
                stack.callback(publisher.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _following_endpoint(endpoint: str, number: int) -> str:
    """Return the endpoint of a device by its number: that of the first, and ports behind it."""
    address, _, port = endpoint.rpartition(":")
    return f"{address}:{int(port) + PORTS_APART * number}" if port.isdecimal() else endpoint
