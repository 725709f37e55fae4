"""The command simulate, with settings that are already checked: beds that are replayed until they end."""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from agent.cli.replay_keyboard import KEYS_HINT, ReplayKeyboard
from agent.cli.stop_signals import StopFlag
from agent.core.config import Config
from agent.dashboard.lines import format_sample_clock
from agent.device.publisher_group import PublisherGroup
from agent.fleet.fleet_plan import FleetDevice, format_devices
from agent.wire.requests import ReplayReply, ReplayRequest
from model.errors import ConfigError
from model.records.resample import FS
from model.text import format_clock
from simulator.playback_control import PlaybackControl
from simulator.record_replay import ReplayPlan
from simulator.scheduler import PlaybackSpeed, ReplayStatus, SchedulerClock, open_replays, run_schedule


@dataclass(frozen=True, slots=True)
class DeviceLayout:
    """By how many devices, on consecutive pairs of ports, beds are sent, and the file to list them in for a fleet."""

    devices: int = 1
    file: Path | None = None


def replay_beds(
    config: Config,
    plans: Sequence[ReplayPlan],
    packet_ms: float,
    pace: PlaybackSpeed,
    parent: int | None,
    layout: DeviceLayout = DeviceLayout(),  # frozen
) -> None:
    """Replay beds until they end, a signal comes, or the process `parent` ends; by several devices, if `layout` has."""
    beds = open_replays(plans, packet_ms)
    control = PlaybackControl(beds, pace.speed, time.monotonic)
    asked = PlaybackControl.handle if config.simulate.control else PlaybackControl.refuse
    console = Console(stderr=True, highlight=False)
    shares = [[plan.bed for plan in plans[number :: layout.devices]] for number in range(layout.devices)]
    with (
        StopFlag() as stop,
        PublisherGroup(config, pace.speed is None, shares, lambda request: asked(control, request)) as publisher,
        ReplayKeyboard(control) as keyboard,
    ):
        for device, share in zip(publisher.publishers, shares, strict=True):
            console.print(f"{len(share)} {'bed' if len(share) == 1 else 'beds'} at {device.endpoint}; Ctrl-C ends")
        if layout.file is not None:
            _write_devices(layout.file, [device.endpoint for device in publisher.publishers], shares)
        if keyboard.is_there:
            console.print(KEYS_HINT)
        for notice in dict.fromkeys(bed.notice for bed in beds if bed.notice):
            console.print(f"ecg-agent: {notice}", markup=False, soft_wrap=True)

        def show_status(status: ReplayStatus) -> None:
            for refusal in publisher.refusals():
                console.print(f"ecg-agent: {refusal}", markup=False, soft_wrap=True)
            if console.is_terminal:
                place = control.handle(ReplayRequest(id=0, action="status"))
                line = keyboard.note or replay_status_text(status, place)
                console.print(line.ljust(console.width - 1), end="\r", overflow="ellipsis", no_wrap=True, markup=False)

        def over() -> bool:
            keyboard.read()
            return stop() or keyboard.quits or (parent is not None and os.getppid() != parent)

        paced = PlaybackSpeed(pace.speed, pace.wait, control)
        last = run_schedule(beds, publisher, paced, SchedulerClock(), over, show_status)
        sent = format_sample_clock(round(last.position_s * FS), tenths=True)
        console.print(f"\nended after {sent} and {last.packets} packets", end="\n")


def _write_devices(path: Path, endpoints: Sequence[str], shares: Sequence[Sequence[str]]) -> None:
    devices = [FleetDevice(endpoint, tuple(beds)) for endpoint, beds in zip(endpoints, shares, strict=True)]
    try:
        path.write_text(format_devices(devices), encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror or error} (--devices)") from error


def replay_status_text(status: ReplayStatus, place: ReplayReply) -> str:
    """Return how a replay stands, in a line."""
    watched = f"{status.subscribed}/{status.beds} beds watched"
    here, end = (format_clock(seconds, hour_digits=0) for seconds in (place.position, place.length))
    state = "waiting for a monitor" if status.waiting else f"{'PAUSED at ' * place.paused}{here} of {end}"
    speed = f"  {place.speed:g}x" if place.speed else "  full speed"
    return f"{state}{speed}  {status.packets} packets  {watched}  late {status.late_ms:.1f} ms"
