"""What a hostile device answers on the backfill channel."""

from collections.abc import Callable
from typing import Any

from benchmarks.attack.hostile_device import GOOD, GOOD_RUN, Answer
from benchmarks.attack.monitor_run import ASKED, MonitorScene
from benchmarks.attack.packet_forms import (
    MOST_SAMPLES,
    Frames,
    Header,
    dump,
    ecg_counts,
    end_message,
    joined_reply,
    packet,
)

LARGE_PACKETS = 64
SENT_STOP, SENT_SAMPLES = 7500, 5
"""A minute in 1,500 packets of 40 ms, as they were first sent."""
PACKET_SAMPLES = 25
ALL_SENT = SENT_STOP + PACKET_SAMPLES
FAR = 10**6
Change = Callable[[Header, Header], list[Frames]]


def _said(**changes: Any) -> Change:
    """Return an answer without packets: the run that was asked for, and other keys as given."""
    return lambda asked, honest: [joined_reply({**honest, "run": asked["run"], **changes})]


def _sent(*packets: Callable[[Header], Frames], **changes: Any) -> Change:
    """Return an answer with packets."""
    return lambda asked, honest: [
        joined_reply({**honest, "run": asked["run"], "next": FAR, **changes}, [make(asked) for make in packets])
    ]


def _again(first: int | None, count: int, **changes: Any) -> Callable[[Header], Frames]:
    """Return a packet of the bed that was asked for: from `first`, or from where it was asked for."""
    return lambda asked: packet(
        asked["bed"], asked["first"] if first is None else first, count, **{"run": asked["run"], **changes}
    )


def _repeat(change: Change, times: int) -> Change:
    return lambda asked, honest: change(asked, honest) * times


MALFORMED_REPLIES: dict[str, Change] = {
    "no JSON": lambda *_: [[b"{" * 1000]],
    "no frames": lambda *_: [[b""]],
    "3 frames": lambda _, honest: [[dump(honest), b"x", b"x"]],
    "601 frames": lambda _, honest: [[dump(honest), *[b"x"] * 600]],
    "another id": _said(id=2**40),
    "negative id": _said(id=-1),
    "huge id": _said(id=2**70),
    "another bed": _sent(lambda _: packet(GOOD, 0, 5, run=GOOD_RUN)),
    "another run": _sent(_again(None, 5, run="another")),
    "oldest after next": _said(oldest=2**53, next=0),
    "start after next": _said(start=2**53, oldest=2**53, next=2**53),
    "ended far away": _said(next=2**53, ended=True),
    "ended at once": _said(next=0, ended=True),
    "no progress": _said(next=2**53),
    "far ahead": _sent(_again(2**53 - 10, 5), next=2**53),
    "behind": _sent(_again(0, 5)),
    "an end": _sent(lambda asked: end_message(asked["bed"], 2**53, asked["run"])),
    "the same 64 times": _sent(*[_again(None, 5)] * 64),
    "control characters": _said(run="\x1b[2J\x1b]52;c;AAAA\x07", bed="\x1b[31m"),
    "never": lambda *_: [],
    "another key": _said(evil=1),
    "a hello": lambda asked, _: [
        [dump({"kind": "hello", "v": 1, "id": asked["id"], "asked": 0, "received": 1e12, "sent": 1e12, "beds": 2**53})]
    ],
    "2,000 times": _repeat(_said(next=FAR), 2000),
    "2,000 times no JSON": lambda *_: [[b"\x1b[2J" * 100]] * 2000,
}
CLOCK_LIES: tuple[Callable[[Header], Header], ...] = (
    lambda _: {"received": 1e12, "sent": 1e12},
    lambda _: {"received": 0, "sent": 0},
    lambda _: {"asked": 0},
    lambda _: {"asked": 1e12},
    lambda honest: {"asked": honest["asked"] + 100, "received": 1e12},
    lambda honest: {"received": honest["received"] + 9e9, "sent": max(0.0, honest["sent"] - 9e9)},
    lambda honest: {"received": honest["received"] + 3600, "sent": honest["sent"] + 3600},
)


def send_malformed_replies(scene: MonitorScene) -> None:
    """Answers of every wrong kind, each to the questions about a bed of its own, which has a hole."""

    def answer(asked: Header, honest: Header) -> list[Frames] | None:
        change = MALFORMED_REPLIES.get(asked["bed"])
        return change(asked, honest) if change else None

    scene.device.on_fetch = answer
    for n in scene.until_over():
        for bed in MALFORMED_REPLIES if n < 8 else ():
            scene.device.send(packet(bed, 25 * (n if n < 4 else n + 60), 25))
        scene.pause(0.1)
    scene.device.on_fetch = None


def send_large_reply(scene: MonitorScene) -> None:
    """64 packets of 65,536 samples where 1,000 samples were asked for."""
    large = [ecg_counts(0, MOST_SAMPLES) * 2] * LARGE_PACKETS

    def answer(asked: Header, honest: Header) -> list[Frames]:
        packets = [
            packet(asked["bed"], asked["first"] + MOST_SAMPLES * n, MOST_SAMPLES, part, run=asked["run"], dtype="int32")
            for n, part in enumerate(large)
        ]
        return [joined_reply({**honest, "run": asked["run"], "next": FAR}, packets)]

    _ask_and_answer(scene, answer, 1000)


def send_packets_as_sent(scene: MonitorScene) -> None:
    """A reply of 1,500 packets, as they were first sent: this is allowed, and all of it is taken."""

    def answer(asked: Header, honest: Header) -> list[Frames]:
        firsts = range(asked["first"], min(asked["stop"], SENT_STOP), SENT_SAMPLES)
        reply = {**honest, "run": asked["run"], "next": ALL_SENT}
        return [joined_reply(reply, [packet(asked["bed"], first, SENT_SAMPLES, run=asked["run"]) for first in firsts])]

    _ask_and_answer(scene, answer, SENT_STOP)


def lie_about_clocks(scene: MonitorScene) -> None:
    """Times of the device that cannot be, no hello for a while, and 500 answers to one."""

    def lie(change: Callable[[Header], Header]) -> Answer:
        return lambda _, honest: [joined_reply({**honest, **change(honest)})]

    lies: list[Answer] = [lie(change) for change in CLOCK_LIES]
    lies += [lambda *_: [], lambda _, honest: [joined_reply(honest)] * 500]
    for answer in lies:
        scene.device.on_hello = answer
        scene.pause(scene.seconds / len(lies))
    scene.device.on_hello = None


def _ask_and_answer(scene: MonitorScene, answer: Answer, first: int) -> None:
    """Let the monitor ask for what is before sample `first` of a new bed, and answer."""
    scene.device.on_fetch = answer
    scene.device.send(packet(ASKED, first, PACKET_SAMPLES))
    scene.pause(scene.seconds)
    scene.device.on_fetch = None
