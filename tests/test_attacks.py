"""Attacks in short, on a running monitor and a running device. `benchmarks.attack` is the long form."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from benchmarks.attack import device_run, monitor_run, watch
from benchmarks.attack.command import run_attack, select_attacks
from benchmarks.attack.device_run import AttackedDevice, DeviceAttack
from benchmarks.attack.frame_proxy import BYTE_CHANGES
from benchmarks.attack.kinds import ATTACKS, DEVICE_ATTACKS, MONITOR_ATTACKS
from benchmarks.attack.monitor_run import AttackedMonitor, MonitorAttack
from benchmarks.attack.packet_forms import BEAT_SAMPLES, ECG, R_AT
from benchmarks.attack.raw_zmtp import GREETING, LONG, MORE, FrameCutter, frame, header_bytes
from benchmarks.attack.verdict import STRICT, AttackFigures, AttackLimits, find_faults, table_head, table_row

TOGETHER = {
    "monitor": ("frames", "headers", "names", "time back", "runs", "flood small", "replies", "clocks"),
    "device": ("device strange bytes", "device requests", "device hellos", "device too large"),
}
"""Attacks on one monitor, and on one device, in a row."""
BUSY = ("greedy 9", "flood nested", "comb")
"""Attacks that want all of a processor: each has a process of its own, one after the other."""
QUIET = (
    *("impostor", "reply large", "reply as sent", "many frames", "endless stream", "endless channel"),
    *("device endless stream", "device long topics", "device upstream"),
)
"""Attacks whose processes wait for most of their time: each has one of its own, all at the same time."""
SECONDS, SETTLED_S = 1.5, 1.0
LOOSE_DELAY_S, LOOSE_EXIT_S = 4.0, 10.0
"""The machine may be busy with other things."""


@pytest.fixture(autouse=True)
def short_times(monkeypatch: pytest.MonkeyPatch, forked_commands: None) -> None:  # noqa: ARG001
    """Look at each process for a shorter time before and after an attack."""
    monkeypatch.setattr(monitor_run, "WARM_S", 3.0)
    monkeypatch.setattr(device_run, "WARM_S", 1.0)
    monkeypatch.setattr(device_run, "SETTLED_S", SETTLED_S)
    monkeypatch.setattr(watch, "ENDED_S", LOOSE_EXIT_S)


def faults_of(attack: MonitorAttack | DeviceAttack, figures: AttackFigures) -> list[str]:
    """Return what was wrong, on a machine that may be slow."""
    delay_s = max(attack.limits.delay_s, LOOSE_DELAY_S)
    limits = replace(attack.limits, delay_s=delay_s, last_delay_s=LOOSE_DELAY_S, exit_s=LOOSE_EXIT_S)
    return find_faults(figures, limits)


def shortened(attack: MonitorAttack) -> MonitorAttack:
    return replace(attack, settled_s=min(attack.settled_s, SETTLED_S))


@pytest.mark.slow
def test_monitor_stands_attacks() -> None:
    """One monitor stands attack after attack: every beat of the good bed, bounded memory, a ledger that closes."""
    with AttackedMonitor(None, proxied=False) as monitor:
        for attack in (attack for attack in MONITOR_ATTACKS if attack.name in TOGETHER["monitor"]):
            figures = monitor.measure(shortened(attack), SECONDS)
            assert faults_of(attack, figures) == [], attack.name
        monitor.finish(attack, figures)
        assert faults_of(attack, figures) == []


@pytest.mark.slow
def test_device_stands_attacks() -> None:
    """One device stands attack after attack: every packet reaches its subscriber, and memory is bounded."""
    with AttackedDevice(None) as device:
        for attack in (attack for attack in DEVICE_ATTACKS if attack.name in TOGETHER["device"]):
            figures = device.measure(attack, SECONDS)
            assert faults_of(attack, figures) == [], attack.name
        device.finish(figures)
        assert faults_of(attack, figures) == []


def faults_alone(name: str) -> list[str]:
    """Return what was wrong after an attack on a process of its own."""
    attack = ATTACKS[name]
    return faults_of(attack, run_attack(attack, 2 * SECONDS, None))


@pytest.mark.slow
@pytest.mark.parametrize("name", BUSY)
def test_attack_is_stood(name: str) -> None:
    """None of these attacks costs the good bed a beat, or more memory than it may."""
    assert faults_alone(name) == []


@pytest.mark.slow
def test_quiet_attacks_are_stood() -> None:
    """Nor does any of these, each on a monitor or a device of its own, all of which run at the same time."""
    with ThreadPoolExecutor(len(QUIET)) as pool:
        faults = dict(zip(QUIET, pool.map(faults_alone, QUIET), strict=True))
    assert faults == {name: [] for name in QUIET}


def test_names_are_selected() -> None:
    """Attacks are chosen by name or pattern; those that make no sense with keys are left out there."""
    assert [attack.name for attack in select_attacks("clean,device cl*", keys=False)] == ["clean", "device clean"]
    assert len(select_attacks("", keys=False)) == len(ATTACKS) == len(MONITOR_ATTACKS) + len(DEVICE_ATTACKS)
    assert not any(attack.name.startswith("endless") for attack in select_attacks("", keys=True))
    assert {*BUSY, *QUIET, *TOGETHER["monitor"], *TOGETHER["device"]} <= set(ATTACKS)
    with pytest.raises(SystemExit, match="no attack is called"):
        select_attacks("nothing", keys=False)


def test_good_heart() -> None:
    """The good bed has its R peaks where they are due."""
    assert all(ECG[at - 20 : at + 20].argmax() == 20 for at in range(R_AT, len(ECG), BEAT_SAMPLES))


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({}, ""),
        ({"alive": False, "exit_code": -11}, "ended by itself with -11"),
        ({"shown": 7}, "1 of 8 not shown"),
        ({"extra": 2}, "2 too many"),
        ({"delay_s": 0.3}, "0.30 s later"),
        ({"last_delay_s": 0.3}, "still 0.30 s later at the end"),
        ({"peak_mb": 201.0}, "101 MB more"),
        ({"open": 5}, "5 samples open"),
        ({"sent_wrong": -5}, "ledger -5 samples"),
        ({"exit_s": 1.2}, "1.2 s to end"),
        ({"said": "Traceback (most recent call last)"}, "exit code 0"),
        ({"notes": ["no ledger"]}, "no ledger"),
    ],
)
def test_faults_are_named(change: dict[str, object], fault: str) -> None:
    """Whatever is beyond a limit is named, and nothing else."""
    good = AttackFigures("made", due=8, shown=8, start_mb=100, peak_mb=110, end_mb=105, exit_s=0.3)
    faults = find_faults(replace(good, **change), STRICT)  # type: ignore[arg-type]
    assert len(faults) == bool(fault)
    assert not fault or fault in faults[0]
    assert table_row(good, faults).endswith(faults[0] if faults else "ok")
    assert len(table_head()) > 50


def test_a_run_that_is_cut_short_owes_no_beats() -> None:
    """Where Ctrl-C comes in the middle, beats and delays are not judged; the end is."""
    figures = AttackFigures("made", due=8, shown=2, delay_s=9.0, exit_s=2.0)
    assert find_faults(figures, AttackLimits(beats=False)) == ["2.0 s to end"]


def test_frames_are_cut_from_bytes() -> None:
    """Frames come out whole, however the bytes are cut, and greeting and frames together are all of them."""
    stream = GREETING + frame(b"a") + frame(b"b" * 300, MORE) + frame(b"c", LONG)
    for size in (1, 7, 100, 1000):
        cutter, greeting, frames = FrameCutter(), b"", []
        for at in range(0, len(stream), size):
            part, whole = cutter.feed(stream[at : at + size])
            greeting += part
            frames += whole
        assert greeting == GREETING
        assert [len(one) - header_bytes(one) for one in frames] == [1, 300, 1]
        assert greeting + b"".join(frames) == stream


@pytest.mark.parametrize("name", BYTE_CHANGES)
def test_a_change_is_a_change(name: str) -> None:
    """Each change sends something else than came, of a long frame and of a short one."""
    for one in (frame(bytes(100)), frame(bytes(300))):
        assert BYTE_CHANGES[name](bytearray(one), header_bytes(one)) != one
