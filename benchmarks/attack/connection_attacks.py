"""What a hostile device, or the network, does to the connections of a monitor."""

from benchmarks.attack.frame_proxy import FrameProxy
from benchmarks.attack.monitor_run import ASKED, MonitorScene
from benchmarks.attack.packet_forms import dump, fetch_reply, packet

TOO_LARGE = 2**20 + 4096
MANY_FRAMES = 3000
"""Frames of 100,000 bytes in one message."""
PART = bytes(100_000)


def send_too_large_frames(scene: MonitorScene) -> None:
    """Frames beyond 1 MiB, which end the connection each time."""
    for n in range(3):
        scene.device.send([b"huge", b"{}", bytes(TOO_LARGE if n < 2 else 100 * 2**20)])
        scene.pause(1.0)


def send_many_frames(scene: MonitorScene) -> None:
    """One message of 300 MB in 3,000 frames, on the stream."""
    scene.device.send([b"many", b"{}", *[PART] * MANY_FRAMES])
    scene.pause(scene.seconds)


def reply_with_many_frames(scene: MonitorScene) -> None:
    """One reply of 300 MB in 3,000 frames."""
    scene.device.on_fetch = lambda asked, _: [[dump(fetch_reply(asked, run=asked["run"])), *[PART] * MANY_FRAMES]]
    scene.device.send(packet(ASKED, 1000, 25))
    scene.pause(scene.seconds)
    scene.device.on_fetch = None


def send_endless_message(scene: MonitorScene, channel: int) -> None:
    """One message whose frames never end, on the stream (`channel` 0) or on the backfill channel (1)."""
    proxy = scene.proxies[channel]
    proxy.begin_endless()
    for _ in scene.until_over():
        scene.pause(0.1)
    proxy.end_endless()


def change_bytes(scene: MonitorScene, name: str, channels: tuple[int, ...], up: bool) -> None:
    """Change one byte of a frame on the stream (0), the backfill channel (1), or both, once."""
    changed: list[FrameProxy] = [scene.proxies[channel] for channel in channels]
    for proxy in changed:
        proxy.change_next(name, up)
    scene.pause(scene.seconds)
    if not all(proxy.changed for proxy in changed):
        raise RuntimeError("no frame came to be changed")
