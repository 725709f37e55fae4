"""Times by the clock in lines of text and of JSON, and when an alarm of any run was."""

import io
import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import cast

import msgspec
import numpy as np
import pytest

from agent.core.alarm_times import alarm_end_s, alarm_onset_s
from agent.core.clock import format_local_clock, format_local_date, format_local_time, format_wall_time
from agent.core.events import EventText
from agent.core.messages import Alarm, Beat, Ledger, Result
from agent.monitor.monitor_session import MonitorSession
from agent.outputs.json_lines import alarm_to_json, beat_line, beat_to_json, ledger_to_json, round_shares
from agent.outputs.text_lines import JsonLineSink, TextLineSink, format_result

START_S = 1_800_000_000.0
BEAT = Beat("bed 1", 1250, 1300, "N", (0.9, 0.1, 0.0, 0.0, 0.0), 0.8, START_S + 10.5, 75.0, run="now")
EVENT = EventText("gap", "bed 1", "now", 1000, "25 samples lost")
LINK = EventText("link", "", "", 0, "connected")
ALARM = Alarm("bed 1", "now", "asystole", "high", "no QRS for 5.0 s", 500, 1125, START_S + 9.2, True)
BEFORE = Alarm("bed 1", "before", "pause", "medium", "RR 3 s", 500, 1125, START_S - 991.0, ended=1500)


class Session:
    """A session of which only the clocks are asked; its run "now" began at START_S."""

    pipeline = SimpleNamespace(beds={"bed 1": None})
    run_clock = SimpleNamespace(time_of=lambda _bed, run, sample: START_S + sample / 125 if run == "now" else None)

    def clock(self) -> float:
        return START_S + 20

    def analysed(self, _bed: str) -> int:
        return 0

    def delay_s(self, _bed: str) -> float:
        return 0.0

    def ledger(self, _bed: str) -> Ledger:
        return Ledger(10, 10, 0)

    def note_shown(self, _beats: object) -> None:
        pass


def written(kind: type[TextLineSink] | type[JsonLineSink], *results: Result) -> list[str]:
    out = io.StringIO()
    sink = kind(out, cast(MonitorSession, Session()))
    sink.push([], results, START_S + 12)
    sink.finish()
    return out.getvalue().splitlines()


def test_text_lines_begin_with_the_time() -> None:
    """The first word of each line is the local time with its offset; what follows is as before."""
    results = (BEAT, EVENT, LINK, ALARM, BEFORE)
    lines = written(TextLineSink, *results)
    times = [datetime.fromisoformat(line.split(maxsplit=1)[0]) for line in lines]
    assert [time.timestamp() - START_S for time in times] == [10.0, 8.0, 12.0, 9.0, pytest.approx(-988.0)]
    assert all(time.utcoffset() == times[0].astimezone().utcoffset() for time in times)
    assert [line.split("  ", 1)[1] for line in lines] == [format_result(item) for item in results]


@pytest.mark.parametrize("item", [BEAT, EVENT, ALARM])
def test_an_overlong_name_is_cut_in_text_alone(item: Beat | EventText | Alarm) -> None:
    """A line for people keeps its room for what is said of the bed; JSON has the whole name."""
    name = "the bed beside the window of room 4" + "x" * 300
    (usual,), (line,) = written(TextLineSink, item), written(TextLineSink, replace(item, bed=name))
    assert "  the bed beside the window of room 4xx... " in line
    assert "xxx" not in line
    assert line.split("... ")[1] == usual.split(item.bed)[1].lstrip()
    assert json.loads(written(JsonLineSink, replace(item, bed=name))[0])["bed"] == name


def test_json_lines_all_have_a_time() -> None:
    """Every type of line has `time`, an alarm the times of its announcement, end and acknowledgement as well."""
    lines = [json.loads(line) for line in written(JsonLineSink, BEAT, EVENT, LINK, ALARM, BEFORE)]
    assert [line["type"] for line in lines] == ["beat", "event", "event", "alarm", "alarm", "ledger"]
    passed = [datetime.fromisoformat(line["time"]).timestamp() - START_S for line in lines]
    assert passed == pytest.approx([10.0, 8.0, 12.0, 4.0, -996.0, 20.0])
    assert all(line["time"].endswith("+00:00") for line in lines)
    assert lines[3]["announced_time"] == format_wall_time(START_S + 9.0)
    assert lines[3]["ended_time"] is lines[3]["acknowledged_time"] is None
    assert lines[4]["ended_time"] == format_wall_time(START_S - 988.0)


def test_times_that_are_not_known() -> None:
    """Without a time there is none, in an alarm of a file and in a ledger of one."""
    line = alarm_to_json(BEFORE, None)
    assert line["time"] is line["announced_time"] is line["ended_time"] is None
    assert ledger_to_json("bed", Ledger(), None)["time"] is None


def test_when_an_alarm_was() -> None:
    """Onset and end are counted from when the alarm was announced, whatever run it is of."""
    assert alarm_onset_s(BEFORE) == pytest.approx(START_S - 996.0)
    assert alarm_end_s(BEFORE) == pytest.approx(START_S - 988.0)
    assert alarm_end_s(ALARM) is None


@pytest.mark.parametrize("at_s", [None, float("nan"), -1.0, 1e18])
def test_no_such_time(at_s: float | None) -> None:
    """What is no time of any calendar is shown as dashes, as wide as a time."""
    assert format_local_clock(at_s) == "--:--:--"
    assert format_local_clock(at_s, 1) == "--:--:--.-"
    assert format_local_time(at_s) == "-"
    assert at_s is None or format_local_date(at_s) == "----------"


def test_tenths_are_cut_off() -> None:
    """A clock with tenths never runs ahead of one without."""
    assert format_local_clock(START_S + 0.999, 1) == format_local_clock(START_S) + ".9"
    assert re.fullmatch(r"\d\d:\d\d:\d\d", format_local_clock(START_S + 0.999))
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.250[+-]\d\d:\d\d", format_local_time(START_S + 0.25))


def test_a_line_of_a_beat_is_what_its_fields_are() -> None:
    """Whatever is done so that lines cost little: all of it, byte for byte, and in the same order."""
    random = np.random.default_rng(0)
    for _ in range(1000):
        sample = int(random.integers(10**7))
        arrived_s, now_s = (START_S + random.uniform(0, 1e5) for _ in range(2))
        shares: tuple[float, ...] = tuple(random.dirichlet([0.1] * 5).tolist())
        rate, quality = random.uniform(20, 300), random.random()
        beat = Beat("bed 1", sample, sample + 90, "V", shares, 0.8, arrived_s, rate, 0, now_s, "now", "II", quality)
        fields = {
            "type": "beat",
            "bed": "bed 1",
            "run": "now",
            "sample": sample,
            "time_s": round(sample / 125, 3),
            "time": datetime.fromtimestamp(arrived_s, UTC).isoformat(timespec="milliseconds"),
            "class": "V",
            "confidence": round(max(shares), 4),
            "probabilities": {name: round(share, 4) for name, share in zip("NSVFQ", shares, strict=True)},
            "rr_s": 0.8,
            "heart_rate": round(rate, 1),
            "lead": "II",
            "quality": round(quality, 2),
            "algorithmic_ms": round(1000 * (90 / 125 + 0.0123), 1),
            "added_ms": round(1000 * (now_s - arrived_s), 3),
            "link_ms": round(1000 * max(0.0, arrived_s - now_s), 3),
        }
        (rounded,) = round_shares([beat])
        line = beat_line(beat, rounded, 0.0123, now_s, arrived_s)
        assert msgspec.json.encode(line) == msgspec.json.encode(fields)
        assert list(beat_to_json(beat, 0.0123, now_s, arrived_s).items()) == list(fields.items())


@pytest.mark.parametrize("fraction", [0.0, 0.9999994, 0.9999996, 0.9994999, 0.0005, 0.9999999])
def test_a_wall_time_is_that_of_a_datetime(fraction: float) -> None:
    """Rounded to microseconds, then cut off, as a datetime does it."""
    for second in (1, 951_782_399, 1_800_000_000, 4_102_444_799):
        at_s = second + fraction
        assert format_wall_time(at_s) == datetime.fromtimestamp(at_s, UTC).isoformat(timespec="milliseconds")


def test_probabilities_of_many_beats_are_rounded_as_each_is() -> None:
    """Also those in the middle between two steps, which no product shows."""
    random = np.random.default_rng(1)
    halves = [np.nextafter((step + 0.5) / 10_000, side) for step in range(0, 10_000, 7) for side in (0, 0.5, 1)]
    values = [*random.random(5000).tolist(), *(10 ** random.uniform(-7, 0, 5000)).tolist(), *halves, 0.03125, 0.0, 1.0]
    values = [float(value) for value in values[: len(values) // 5 * 5]]
    beats = [replace(BEAT, probabilities=tuple(values[first : first + 5])) for first in range(0, len(values), 5)]
    assert round_shares(beats) == [[round(p, 4) for p in beat.probabilities] for beat in beats]
