"""One view over all hosts of a fleet: what it shows of a store, and what it does there."""

import io
import re
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Timer
from typing import Any, cast

import msgspec
import pytest
from support.broker import free_port
from support.web_ward import StillViewer
from test_dashboard_sink import FakeScreen
from test_fleet_store import FS, beat, span, tell
from typer.testing import CliRunner

from agent.cli.app import app
from agent.cli.fleet_lines import FleetLines
from agent.core.alarm_times import alarm_onset_s
from agent.core.clock import format_local_clock
from agent.core.config import Config
from agent.core.look_back import PastRequest
from agent.core.views import BedView
from agent.dashboard.alarm_lines import alarm_age_s
from agent.dashboard.frame import layout_view, render_frame
from agent.dashboard.key_bindings import press_keys
from agent.dashboard.past_requests import wanted_past
from agent.dashboard.terminal import TerminalScreen
from agent.dashboard.view import DashboardView, needed_beds
from agent.outputs.dashboard_sink import DashboardSink
from agent.outputs.prometheus import MetricsExporter
from agent.store import ward_feed
from agent.store.fleet_store import FleetStore
from agent.store.fleet_ward import FleetWard
from agent.store.store_database import SqliteDatabase
from agent.store.store_messages import (
    AlarmTold,
    Ask,
    AskWard,
    EventTold,
    Listening,
    StoreReply,
    StoreRequest,
    TellReply,
)
from agent.store.ward_feed import WardFeed
from agent.web.deeds import alarm_key
from agent.web.hand_over import HandOver, TraceKey
from agent.web.ward_mirror import WardMirror
from agent.web.ward_watch import WardWatch
from model.errors import ConfigError, SourceError

BEDS = ("1", "2", "3")


def vt(bed: str = "2", onset: int = 500, ended: int | None = None) -> AlarmTold:
    times = onset + 100, 995.0, 1, ended, None
    return AlarmTold(bed, "r", "ventricular tachycardia", onset, "high", "7 V at 180/min", *times)


@dataclass
class NotingScreen(FakeScreen):
    """A terminal that also remembers the answers to keys."""

    notes: list[str] = field(default_factory=list)

    def note(self, text: str, now_s: float) -> None:  # noqa: ARG002  # it stays
        self.notes.append(text)


class HandFleet:
    """A store with a clock that is set by hand, replicas that tell what they are told to, and a view of it."""

    def __init__(self, path: Path, settings: Config) -> None:
        self.shown = f"store:{path}"
        self.now_s, self.is_away = 1000.0, False
        self.database = SqliteDatabase(path)
        self.database.now_s = self.clock  # type: ignore[method-assign]
        self.store = FleetStore(self.database, "north")
        for name in ("first", "second"):
            self.tell(name)
        self.feed = WardFeed(self, self.clock, counts_alarms=True)
        self.ward = FleetWard(self.feed, settings, "Kim")
        self.view = DashboardView(ascii=True)

    def clock(self) -> float:
        return self.now_s

    def answer(self, request: StoreRequest) -> StoreReply:
        if self.is_away:
            raise SourceError(f"{self.shown}: connection refused")
        return self.store.answer(request)

    def close(self) -> None:
        self.database.close()

    def tell(self, name: str, *beats: Any, **fields: Any) -> TellReply:
        """Let a replica that hears all beds tell beats and other rows, and eight seconds of signal of each bed."""
        fields.setdefault("listening", [Listening(bed, 100.0, True) for bed in BEDS])
        fields.setdefault("spans", [span((0, round(8 * FS), False), bed=bed) for bed in BEDS])
        reply = self.store.answer(tell(name, *beats, **fields))
        assert isinstance(reply, TellReply)
        return reply

    def turn(self, seconds: float = 0.25, keep: str = "first second") -> None:
        """Let time pass in which these replicas tell that they are alive, and the view ask the store."""
        for _ in range(max(1, round(seconds / 0.25))):
            self.now_s += min(0.25, seconds)
            for name in keep.split():
                self.tell(name, spans=[])
        self.feed.turn()
        self.ward.ward_snapshot(self.now_s)

    def picture(self, keys: str = "", size: tuple[int, int] = (120, 40)) -> str:
        """The screen after these keys."""
        for key in keys:
            self.view = press_keys(self.view, key, self.ward.ward_snapshot(self.now_s))
        for _ in range(2):  # the beds that are seen are asked for in full, and are there the next time
            snapshot = self.ward.ward_snapshot(self.now_s)
            view = layout_view(snapshot, self.view, *size)
            snapshot = self.ward.with_beds(snapshot, needed_beds(view, snapshot))
            if wanted := wanted_past(view, snapshot):
                snapshot = replace(snapshot, past=self.ward.past(wanted, self.now_s))
            self.feed.turn()
        self.view = layout_view(snapshot, view, *size)
        lines = render_frame(snapshot, self.view, *size).lines
        texts = ["".join(segment.text for segment in line) for line in lines]
        assert len(texts) == size[1]
        assert {len(text) for text in texts} == {size[0]}
        return "\n".join(texts)

    def bed(self, name: str) -> BedView:
        self.ward.with_beds(self.ward.ward_snapshot(self.now_s), [name])
        self.feed.turn()
        return self.ward.with_beds(self.ward.ward_snapshot(self.now_s), [name]).beds[0]


@pytest.fixture
def fleet(tmp_path: Path, settings: Config) -> Iterator[HandFleet]:
    made = HandFleet(tmp_path / "ward.db", settings)
    yield made
    made.close()


def test_all_is_well(fleet: HandFleet) -> None:
    """Each bed has its rate, its counts, the monitors that listen and the one that speaks; nothing is alarmed."""
    fleet.tell("first", beat(800), beat(900, label="V"), beat(920, bed="2"))
    fleet.turn()
    text = fleet.picture()
    assert "beds 1-3 of 3" in text
    assert "* fleet" in text
    assert "0 high" in text
    assert "2 monitors" in text
    assert " first" in text
    assert "N1" in text
    assert "V1" in text
    assert "75" in text
    assert "sent 8,640 = 8,640 analysed + 0 missing" in text
    assert "NO MONITOR" not in text
    assert "AWAY" not in text
    assert fleet.bed("1").rhythm.counts == (1, 0, 1, 0, 0)
    assert [of.label for of in fleet.bed("1").beats] == ["N", "V"]
    assert fleet.bed("3").rhythm.heart_rate is None
    fleet.tell("first", spans=[span((0, round(13 * FS), False), bed=bed) for bed in BEDS])
    assert fleet.bed("1").rhythm.heart_rate is None, "its last beat is long ago"


def test_the_worst_alarm_comes_first(fleet: HandFleet) -> None:
    """A bed with an alarm stands first, and its page says which, since when, who speaks, and that no trace is here."""
    event = EventTold("e", "first", "2", "r", 900, 999.0, "signal", "lead V5 is off", None, None)
    fleet.tell("first", beat(900, bed="2"), alarms=[vt()], events=[event])
    fleet.turn()
    text = fleet.picture()
    assert text.splitlines()[1].strip().startswith("!!! 1 high")
    assert [bed.bed for bed in fleet.ward.ward_snapshot(fleet.now_s).index if bed.audible == "high"] == ["2"]
    assert fleet.view.order.names[0] == "2"
    assert "!!! VT" in text
    for size in ((120, 40), (80, 24)):
        page = fleet.picture("n\r" if size[0] == 120 else "", size)
        assert "ventricular tachycardia" in page
        assert "7 V at 180/min" in page
        assert "traces are at the monitors" in page
        assert "speaks for it   first" in page
        assert "second  hears it" in page
        assert "lead V5 is off" in page
        assert "told up to 00:00:07" in page


def test_alarms_are_shown_as_a_monitor_shows_them(fleet: HandFleet) -> None:
    """One of a kind, none below a worse one of its chain; the name of the rhythm and no rate in fibrillation."""
    high = AlarmTold("2", "r", "heart rate high", 400, "medium", "HR 180", 500, 994.0, 1, None, None)
    vf = AlarmTold("3", "r", "ventricular fibrillation", 400, "high", "VF", 500, 994.0, 1, None, None)
    af = AlarmTold("1", "r", "atrial fibrillation", 400, "medium", "RR irregular", 500, 994.0, 0, None, None)
    rows = [vt(onset=100, ended=300), vt(), high, vf, af]
    fleet.tell("first", *(beat(900, bed=bed) for bed in BEDS), alarms=rows)
    fleet.turn()
    assert [alarm.onset for alarm in fleet.bed("2").alarms] == [500]
    assert fleet.bed("1").rhythm_name == "AF"
    assert fleet.bed("3").suspended
    assert fleet.bed("3").rhythm.heart_rate is None
    assert fleet.bed("2").rhythm.heart_rate == 75.0


def test_a_bed_without_a_speaker_is_seen(fleet: HandFleet) -> None:
    """One that dies is named; with both no bed has a monitor, which stands above the ward, on each card and page."""
    fleet.tell("first", beat(900, bed="2"))
    low = AlarmTold("3", "r", "couplet", 400, "low", "2 V beats", 500, 994.0, 0, None, None)
    fleet.tell("first", alarms=[low], spans=[])
    fleet.turn(3.0, keep="second")
    text = fleet.picture()
    assert "no word of first on host for" in text
    assert "1 monitor 1 silent" in text
    assert " second" in text
    assert "NO MONITOR" not in text
    others = [Listening(bed, None, True) for bed in ("1", "2")]
    fleet.tell("second", listening=others, spans=[])  # it no longer listens to them
    fleet.feed.turn()
    urgency = {bed.bed: bed.urgency for bed in fleet.ward.ward_snapshot(fleet.now_s).index}
    assert urgency["1"] == urgency["2"] > urgency["3"] > 0, "the loss of the monitors comes before a low alarm"
    fleet.turn(3.0, keep="")
    for size in ((120, 40), (80, 24), (60, 15), (30, 8)):
        text = fleet.picture(size=size)
        assert "NO MONITOR" in text or "no monitor" in text, text
    assert "3 of 3 beds have NO MONITOR: 1, 2, 3" in fleet.picture()
    page = fleet.picture("n\r")
    assert "nobody" in page
    assert "SILENT for" in page
    assert "NO MONITOR" in page.splitlines()[0]
    fleet.tell("first", afresh=True)
    fleet.turn(1.0)
    assert "NO MONITOR" not in fleet.picture()


def test_one_that_hears_nothing(fleet: HandFleet) -> None:
    """Where all monitors listen and none hears anything there is no data; a run that is over has ended."""
    deaf = [Listening("1", 100.0, False), Listening("2", 100.0, True), Listening("3", 100.0, True)]
    ended = [span(bed="3", ended=True)]
    for name in ("first", "second"):
        fleet.tell(name, listening=deaf, spans=ended)
    fleet.feed.turn()
    states = {bed.bed: bed.state for bed in fleet.ward.ward_snapshot(fleet.now_s).index}
    assert states["1"] == "ok", "it was told a moment ago"
    for _ in range(16):
        fleet.now_s += 0.25
        for name in ("first", "second"):
            fleet.tell(name, listening=deaf, spans=[])
    fleet.feed.turn()
    index = fleet.ward.ward_snapshot(fleet.now_s).index
    assert [bed.behind_s for bed in index] == [0.0, 4.0, 0.0]
    states = {bed.bed: bed.state for bed in index}
    assert states == {"1": "no data", "2": "ok", "3": "ended"}


@pytest.mark.parametrize("size", [(120, 40), (80, 24), (60, 15), (30, 8)])
def test_a_store_that_is_away_is_seen(fleet: HandFleet, size: tuple[int, int]) -> None:
    """The last picture stays, and is said to be old, since when and why, until the store is back."""
    fleet.tell("first", beat(900, bed="2"), alarms=[vt()])
    fleet.turn()
    assert "AWAY" not in fleet.picture(size=size)
    age_s = alarm_age_s(fleet.bed("2"), fleet.bed("2").alarms[0], fleet.now_s)
    fleet.is_away = True
    fleet.turn(3.0)
    aged_s = alarm_age_s(fleet.bed("2"), fleet.bed("2").alarms[0], fleet.now_s)
    assert aged_s == pytest.approx(age_s, abs=0.5), "who knows whether it still lasts?"
    text = fleet.picture(size=size)
    assert "STORE AWAY" in text
    assert "VT" in text
    assert "NO MONITOR" not in text
    if size[0] >= 80:
        assert "all that is shown is of" in text
        assert "connection refused" in " ".join(text.split())
        assert "STORE AWAY 3 s" in text.splitlines()[0]
    fleet.turn(10.0)
    assert not [word for word in fleet.picture(size=size).split() if word == "75"], "an old rate passes for a new one"
    fleet.is_away = False
    fleet.turn()
    assert "AWAY" not in fleet.picture(size=size)


def test_an_acknowledgement_reaches_the_store(fleet: HandFleet) -> None:
    """It is a deed in the name of who looks, and every monitor is told of it; what is not known here is not meant."""
    fleet.tell("first", beat(900, bed="2"), alarms=[vt()])
    fleet.turn()
    fleet.tell("first", alarms=[vt(ended=650), vt(onset=700)])  # the view has not heard of it
    fleet.ward.actions.acknowledge("2")
    fleet.feed.turn()
    (deed,) = fleet.tell("second", deeds_after=0).deeds
    assert (deed.kind, deed.by, deed.bed) == ("acknowledged", "Kim", "2")
    assert deed.alarms == [("r", "ventricular tachycardia", 500)]
    ward = fleet.ward.ward_snapshot(fleet.now_s)
    assert [(of.onset, of.acknowledged_s is None) for of in fleet.bed("2").alarms] == [(700, True)]
    texts = [logged.event for logged in ward.events]
    assert [getattr(event, "by", "") for event in texts] == ["Kim"]
    fleet.ward.actions.acknowledge_seen("2", "Lou", lambda identity: identity[3] == 700)
    fleet.feed.turn()
    assert fleet.tell("second", deeds_after=1).deeds[0].by == "Lou"
    assert fleet.ward.ward_snapshot(fleet.now_s).index[1].audible is None


def test_silence_and_pause_are_seen(fleet: HandFleet, settings: Config) -> None:
    """They are deeds, too, whoever does them, and last as long as they do at a monitor of these settings."""
    fleet.tell("first", beat(900, bed="2"), alarms=[vt()])
    fleet.turn()
    fleet.ward.actions.silence("2", on=True)
    fleet.ward.actions.pause_alarms("1", "Lou", on=True)
    fleet.feed.turn()
    index = {bed.bed: bed for bed in fleet.ward.ward_snapshot(fleet.now_s).index}
    assert index["2"].silenced
    assert index["2"].audible is None
    assert index["1"].paused_until_s == pytest.approx(fleet.now_s + settings.alarms.pause_alarms_s)
    assert "PAUSED" in fleet.picture()
    fleet.turn(max(settings.alarms.silence_s, settings.alarms.pause_alarms_s) + 1.0)
    index = {bed.bed: bed for bed in fleet.ward.ward_snapshot(fleet.now_s).index}
    assert not index["2"].silenced
    assert index["1"].paused_until_s == 0.0


def test_nothing_is_done_while_the_store_is_away(fleet: HandFleet) -> None:
    """A key is refused in words, not taken and forgotten; limits are always refused."""
    fleet.tell("first", beat(900, bed="2"), alarms=[vt()])
    fleet.turn()
    fleet.is_away = True
    fleet.turn(3.0)
    with pytest.raises(SourceError, match="do it at a monitor"):
        fleet.ward.actions.acknowledge("2")
    assert "limits are set at a monitor" in fleet.picture("nl")
    assert "alarms not known" in fleet.picture("p\r")
    assert "no alarm" not in fleet.picture()


def test_a_deed_waits_for_a_moment_and_is_then_said_to_be_lost(
    fleet: HandFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the store does not take at once it takes later; what it never takes is among the events."""
    fleet.tell("first", beat(900, bed="2"), alarms=[vt()])
    fleet.turn()
    fleet.is_away = True
    fleet.ward.actions.acknowledge("2")
    fleet.feed.turn()
    fleet.is_away = False
    fleet.feed.turn()
    assert len(fleet.tell("second", deeds_after=0).deeds) == 1
    monkeypatch.setattr(ward_feed, "PATIENCE_S", -1.0)
    fleet.ward.actions.silence("2")
    fleet.is_away = True
    fleet.feed.turn()
    fleet.now_s += 1.0
    texts = [getattr(of.event, "text", "") for of in fleet.ward.ward_snapshot(fleet.now_s).events]
    assert "the store did not take it: 2 silenced" in texts


def test_the_past_of_a_bed_is_its_alarms(fleet: HandFleet) -> None:
    """The list of alarms is there; a trend and a strip are not, and the page says where they are."""
    fleet.tell("first", beat(900, bed="2"), alarms=[vt(onset=100, ended=300), vt()])
    fleet.turn()
    assert fleet.bed("2").last_alarms[0].onset in (100, 500)
    past = fleet.ward.past(PastRequest("2", alarms=True), fleet.now_s)
    assert [of.alarm.condition for of in past.alarms] == ["ventricular tachycardia"] * 2
    assert "at the monitors" in past.trouble
    assert len(fleet.ward.past(PastRequest("2", hours=2), fleet.now_s).trend or ()) == 120
    for key in "tc2 +<a":
        assert "there is no trace here" in fleet.picture(("n\r" if key == "t" else "") + key)
    assert "7 V at 180/min" in fleet.picture("A").splitlines()[6]
    assert "trends and strips are at the monitors" in fleet.picture()


def test_an_alarm_of_a_backfill_is_shown_at_its_time(fleet: HandFleet) -> None:
    """Row, list and order go by the signal, though the alarm was found minutes later; so does what one stands for."""
    told_late = msgspec.structs.replace(vt(onset=500, ended=600), onset_s=700.0, announced_s=996.0)
    before = msgspec.structs.replace(vt(onset=100, ended=300), onset_s=696.8, announced_s=997.0)
    fleet.tell("first", beat(900, bed="2"), alarms=[told_late, before])
    fleet.turn()
    (shown,) = fleet.bed("2").alarms
    assert shown.onset == 500, "the latest in the signal, not the latest told"
    assert alarm_onset_s(shown, fleet.bed("2")) == pytest.approx(700.0)
    banner = fleet.picture("n\r").splitlines()[1]
    assert f"{format_local_clock(700.0)} to {format_local_clock(700.8)}" in banner
    past = fleet.ward.past(PastRequest("2", alarms=True), fleet.now_s).alarms
    assert [of.alarm.onset for of in past] == [500, 100]
    assert [of.onset_s for of in past] == pytest.approx([700.0, 696.8])
    assert [of.ended_s for of in past] == pytest.approx([700.8, 698.4])
    assert fleet.ward.actions.acknowledge_seen("2", "Lou", lambda identity: identity[3] == 500) == 2


def test_prometheus_gets_the_same_names(fleet: HandFleet, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beats, alarms, rates, samples and states by the names of a monitor; of a store that is away no rate."""
    monkeypatch.setattr(ward_feed, "COUNTS_S", 0.0)
    monkeypatch.setattr(fleet.feed, "_counts_due_s", 0.0)
    fleet.tell("first", beat(900, bed="2"), beat(950, bed="2", label="V"), alarms=[vt()])
    fleet.turn()

    def scrape(exporter: MetricsExporter) -> set[str]:
        exporter.publish(fleet.ward.figures(fleet.now_s))
        with urllib.request.urlopen(exporter.address) as answer:
            return set(answer.read().decode().splitlines())

    with MetricsExporter(f":{free_port()}", has_latencies=False) as exporter:
        lines = scrape(exporter)
        assert {
            'ecg_agent_beats_total{bed="2",class="V"} 1.0',
            'ecg_agent_alarms_total{bed="2",condition="ventricular tachycardia",priority="high"} 1.0',
            'ecg_agent_alarms_active{bed="2",priority="high"} 1.0',
            'ecg_agent_heart_rate_bpm{bed="2"} 75.0',
            'ecg_agent_samples_sent_total{bed="1"} 2880.0',
            'ecg_agent_beds{state="ok"} 3.0',
            'ecg_agent_replicas{state="alive"} 2.0',
            'ecg_agent_listening_replicas{bed="3"} 2.0',
            "ecg_agent_link_up 1.0",
        } <= lines
        assert not [line for line in lines if "latency" in line or "packets" in line or "gaps" in line]
        fleet.is_away = True
        fleet.turn(3.0)
        lines = scrape(exporter)
        assert {'ecg_agent_beds{state="store away"} 3.0', "ecg_agent_link_up 0.0"} <= lines
        assert not [line for line in lines if line.startswith("ecg_agent_heart_rate_bpm{")]


def test_a_browser_gets_the_same_ward(fleet: HandFleet, settings: Config) -> None:
    """The page has beds, alarms and who speaks, and no signal; it says so when a bed has no monitor."""
    fleet.tell("first", beat(900, bed="2"), alarms=[vt()])
    fleet.turn()
    hand_over = HandOver()
    mirror, watch = WardMirror(hand_over), WardWatch(StillViewer(), fleet.ward, hand_over, settings.web)
    mirror.want([TraceKey("2", True), TraceKey("1", False)])

    def look() -> tuple[bytes, bytes]:
        for _ in range(2):
            assert watch.refresh(fleet.now_s)
            fleet.turn(1.0, keep=kept)
        assert watch.refresh(fleet.now_s)
        mirror.take()
        return mirror.ward_head, mirror.encoded_bed("2", full=True) or b""

    kept = "first second"
    ward, bed = look()
    assert b'"is_store":true' in ward
    assert b'"high":1' in ward
    assert b'"rhythm_words":"no arrhythmia alarmed"' in (mirror.encoded_bed("1") or b"")
    for part in (b'"state":"ok"', b'"rate":75', b'"speaker":"first"', b'"name":"second"', b'"condition":"ventric'):
        assert part in bed, bed
    assert alarm_key(("2", "r", "ventricular tachycardia", 500)).encode() in bed
    assert hand_over.pulse is not None
    assert hand_over.pulse.stretches == ()
    kept = ""
    fleet.turn(3.0, keep="")
    ward, bed = look()
    assert b'"no_monitor":3' in ward
    assert b"beds have NO MONITOR" in ward
    assert b'"state":"no monitor"' in bed


def test_beats_are_counted_as_they_are_taken(fleet: HandFleet) -> None:
    """The counts of the ledger are those of the table, over runs and repeated tellings."""
    rows = [beat(100 * place, label="NVSNF"[place % 5]) for place in range(1, 20)]
    for first in range(0, 19, 4):
        fleet.tell("first", *rows[max(0, first - 2) : first + 4])
    fleet.tell("first", beat(50, run="s", label="Q"), spans=[span((0, 100, False), run="s")])
    fleet.turn()
    counted = fleet.database.read("SELECT label, count(*) FROM beats GROUP BY label ORDER BY label")
    assert dict(counted) == {"F": 4, "N": 7, "Q": 1, "S": 4, "V": 4}
    assert fleet.bed("1").rhythm.counts == (7, 4, 4, 4, 1)


def test_what_is_shown_at_once_is_read_by_index(fleet: HandFleet, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither alarms that are over, nor old events, nor old beats are gone through each second."""
    asked: list[tuple[str, tuple[object, ...]]] = []
    read = fleet.database.read

    def listen(query: str, values: Any = ()) -> list[tuple[Any, ...]]:
        asked.append((query, tuple(values)))
        return read(query, values)

    monkeypatch.setattr(fleet.database, "read", listen)
    fleet.store.answer(AskWard(["1"], 0))
    large = [(query, values) for query, values in asked if re.search("FROM (alarms|events|beats)", query)]
    plans = [" ".join(row[3] for row in read(f"EXPLAIN QUERY PLAN {query}", values)) for query, values in large]
    expected = (
        "alarms_on_screen",
        "events_in_time",
        "(bed=? AND run=?)",
        "alarms_of_bed (bed=? AND ann",
        "events_of_bed",
    )
    assert len(plans) == len(expected)
    for plan, words in zip(plans, expected, strict=True):
        assert words in plan


def test_a_watch_that_begins_before_the_fleet(tmp_path: Path) -> None:
    """It says in one line what it waits for, goes on once there is a store, and makes none itself."""
    path, address = tmp_path / "ward.db", f"127.0.0.1:{free_port()}"
    command = ["fleet", "watch", f"store:{path}", "--metrics", address, "--seconds", "2.5"]
    timer = Timer(1.0, lambda: FleetStore(SqliteDatabase(path), "north").prepare())
    timer.start()
    result = CliRunner().invoke(app, command)
    timer.join()
    assert result.exit_code == 0, result.exception
    waiting, metrics, *_ = result.stderr.splitlines()
    hint = f"check its path, or start a monitor with --publish store:{path}; waiting for it, Ctrl-C ends"
    assert waiting == f"ecg-agent: no store {path}: {hint}"
    assert metrics == f"ecg-agent: metrics are at http://{address}/metrics"


@pytest.mark.parametrize("store", ["store:{}/none.db", "store:{}/empty.db", "store://127.0.0.1:9"])
def test_a_store_that_does_not_come(tmp_path: Path, store: str) -> None:
    """Its absence is said once; the end is that of any watch, and nothing was made."""
    (tmp_path / "empty.db").touch()
    watch = ["fleet", "watch", store.format(tmp_path), "--metrics", ":9", "--seconds", "0.6"]
    result = CliRunner().invoke(app, watch)
    assert result.exit_code == 0, result.exception
    assert result.stderr.count("waiting for it") == 1
    assert sorted(tmp_path.iterdir()) == [tmp_path / "empty.db"]
    assert not (tmp_path / "empty.db").stat().st_size


def test_what_cannot_become_a_store_is_one_line(tmp_path: Path) -> None:
    """A text, and a folder that is not there, end the command as they end `fleet status`."""
    (tmp_path / "text").write_text("words " * 1000)
    for name in ("text", "none/ward.db"):
        wrong = ["fleet", "watch", f"store:{tmp_path / name}", "--metrics", ":9"]
        assert isinstance(CliRunner().invoke(app, wrong).exception, ConfigError)


def test_changes_of_alarms_are_lines_where_there_is_no_terminal(fleet: HandFleet) -> None:
    """One as it begins, as it is over and as it goes, none twice and none cut; what is wrong is no part of them."""
    said = io.StringIO()
    lines = FleetLines(fleet.ward, said)
    long = "V beats in a minute: over 10, " * 10
    rate = AlarmTold("3", "r", "V rate high", 400, "low", long, 500, 994.0, 0, None, None)
    for alarms in ([vt(), rate], [], [vt(ended=750), msgspec.structs.replace(rate, ended=700)]):
        fleet.tell("first", beat(900, bed="2"), alarms=alarms)
        fleet.turn()
        assert lines.refresh(fleet.now_s)
        assert lines.refresh(fleet.now_s)
    texts = [line[31:] for line in said.getvalue().splitlines()]
    assert texts == [
        "2        0:00:04.80  !!!  ventricular tachycardia: 7 V at 180/min",
        f"3        0:00:04.00  !    V rate high: {long}",
        "2        0:00:06.00  !!!  over: ventricular tachycardia: 7 V at 180/min",
        "3        no longer shown: V rate high",
    ]
    assert {line[:2] for line in said.getvalue().splitlines()} <= {"19", "20"}


def test_the_command_writes_lines_to_a_pipe(fleet: HandFleet) -> None:
    """As `monitor` does, with no page and no metrics to serve."""
    fleet.tell("first", beat(900, bed="2"), alarms=[vt()])
    result = CliRunner().invoke(app, ["fleet", "watch", fleet.shown, "--seconds", "1"])
    assert result.exit_code == 0, result.exception
    assert result.stdout.count("!!!  ventricular tachycardia: 7 V at 180/min\n") == 1
    assert "beds have no monitor" not in result.stdout


def test_the_command_without_a_terminal(fleet: HandFleet) -> None:
    """It serves metrics for a while, and says in a line what is wrong."""
    address = f"127.0.0.1:{free_port()}"
    result = CliRunner().invoke(app, ["fleet", "watch", fleet.shown, "--metrics", address, "--seconds", "1.5"])
    assert result.exit_code == 0, result.exception
    assert f"metrics are at http://{address}/metrics" in result.stderr
    assert result.stderr.count("3 beds have no monitor: 3 of 3 beds have NO MONITOR: 1, 2, 3") == 1


def test_the_most_urgent_alarms_of_a_bed_are_listed(fleet: HandFleet) -> None:
    """An older alarm that somebody has seen, and less urgent ones, hide none that matters more."""
    seen = AlarmTold("2", "r", "couplet", 100, "low", "V and N", 150, 990.0, 0, None, 991.0)
    over = AlarmTold("2", "r", "pause", 200, "medium", "2.5 s", 250, 991.0, 1, 300, None)
    low = AlarmTold("2", "r", "bigeminy", 350, "low", "V and N", 400, 992.0, 0, None, None)
    medium = AlarmTold("2", "r", "pause", 450, "medium", "2.5 s", 480, 993.0, 1, None, None)
    fleet.tell("first", beat(900, bed="2"), alarms=[seen, over, low, medium, vt()])
    shown = CliRunner().invoke(app, ["fleet", "status", fleet.shown]).stdout
    assert "bigeminy" not in shown
    assert "couplet" not in shown
    assert shown.index("tachycardia") < shown.index("pause,") < shown.index("(over)") < shown.index("2 more")


def test_keys_of_the_dashboard_reach_the_store(fleet: HandFleet, settings: Config) -> None:
    """What is pressed is done in the store; while it is away the answer to the key says that nothing was done."""
    screen = NotingScreen()
    dashboard = DashboardSink(cast(TerminalScreen, screen), settings, fleet.ward)
    fleet.tell("first", beat(900, bed="2"), alarms=[vt()])
    fleet.turn()
    for keys in ("", "n", "k"):
        screen.typed = keys
        fleet.now_s += 1.0
        assert dashboard.refresh(fleet.now_s)
        fleet.turn()
    assert [deed.kind for deed in fleet.tell("second", deeds_after=0).deeds] == ["acknowledged"]
    fleet.is_away = True
    fleet.turn(3.0)
    screen.typed = "m"
    assert dashboard.refresh(fleet.now_s)
    assert screen.notes == ["the store is away: nothing can be done to a bed here, do it at a monitor"]


def test_a_store_is_asked_in_a_thread(fleet: HandFleet, monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread asks once a second, at once for a bed that is opened, and ends when it is closed."""
    monkeypatch.setattr(ward_feed, "PERIOD_S", 30.0)
    before = fleet.feed.state
    fleet.feed.start()
    fleet.feed.want(["2"])
    while fleet.feed.state is before:
        pass
    assert [bed.bed for bed in fleet.feed.state.reply.in_full] == ["2"]
    fleet.feed.close()
    assert isinstance(fleet.store.answer(Ask()), object)
