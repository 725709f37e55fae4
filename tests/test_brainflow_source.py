"""agent.bridge.brainflow_source: BrainFlow's synthetic board, and recordings that it plays back."""

import time
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from support.streamed import beats_directly, bridge_to_monitor, far_from, record_at, simulated_counts

from agent.analysis.beat_classifier import BeatClassifier
from agent.bridge import brainflow_source
from agent.bridge.brainflow_source import BrainflowSource
from agent.bridge.open_source import open_source
from agent.bridge.sensor_source import LostSourceError, SourceLayout, SourceReading, source_lead
from agent.bridge.source_options import CountSize, SourceOptions
from agent.core.config import Config
from model.errors import ConfigError, SourceError

pytest.importorskip("brainflow", reason="needs the extra brainflow")

PATIENCE_S = 20.0


def write_playback(path: Path, leads: NDArray[np.float64], package: int, fs: float = 250.0) -> BrainflowSource:
    """Write leads (n, leads) in microvolts as a recording of the synthetic board; return its source."""
    rows = np.zeros((32, len(leads)))
    rows[0] = np.arange(len(leads)) % package
    rows[1 : 1 + leads.shape[1]] = leads.T
    rows[30] = 1.7e9 + np.arange(len(leads)) / fs
    np.savetxt(path, rows.T, fmt="%.6f", delimiter="\t")
    return playback(path, leads.shape[1])


def playback(path: Path, leads: int) -> BrainflowSource:
    columns = tuple(range(1, 1 + leads))
    place = f"playback_file?file={path}&master_board=synthetic"
    return BrainflowSource(place, SourceOptions(columns=columns))


def read_all(source: BrainflowSource, samples: int) -> tuple[SourceLayout, list[SourceReading]]:
    """Read so many samples of an open source; return its layout and readings."""
    layout, until_s = source.read(0.1), time.monotonic() + PATIENCE_S
    readings: list[SourceReading] = []
    assert isinstance(layout, SourceLayout)
    while sum(len(reading.counts) for reading in readings) < samples:
        assert time.monotonic() < until_s
        if isinstance(reading := source.read(0.02), SourceReading) and len(reading.counts):
            readings.append(reading)
    return layout, readings


def test_synthetic_board(capfd: pytest.CaptureFixture[str]) -> None:
    """A board is started by its name, sends at its rate, says its battery, and writes nothing on the screen."""
    source = open_source("brainflow:Synthetic", SourceOptions(columns=(1, 3), names=("I",)))
    assert isinstance(source, BrainflowSource)
    source.open()
    layout, readings = read_all(source, 500)
    source.close()
    source.close()
    assert (layout.fs, [(lead.name, lead.unit, lead.gain) for lead in layout.leads]) == (
        250.0,
        [("I", "uV", 10.0), ("ECG2", "uV", 10.0)],
    )
    assert not any(reading.lost for reading in readings)
    assert source.remark().startswith("battery ")
    assert source.remark().endswith("losses by package number")
    assert capfd.readouterr() == ("", "")


@pytest.mark.slow
def test_playback_is_exact(tmp_path: Path) -> None:
    """A recording that is played back arrives to the sample, in microvolts, and then the source is over."""
    ramp = np.stack([np.arange(600.0), -np.arange(600.0)], axis=1)
    source = write_playback(tmp_path / "ramp.csv", ramp, 256)
    source.open()
    _, readings = read_all(source, 600)
    until_s = time.monotonic() + PATIENCE_S
    while not source.is_over:
        assert time.monotonic() < until_s
        source.read(0.1)
    source.close()
    assert np.concatenate([reading.counts for reading in readings]).tolist() == (10 * ramp).tolist()


@pytest.mark.slow
def test_lost_packages(tmp_path: Path) -> None:
    """Packages that the counter leaves out are declared lost in their place, more than a round of it too."""
    source = write_playback(tmp_path / "whole.csv", np.arange(2000.0)[:, None], 256)
    lines = (tmp_path / "whole.csv").read_text().splitlines(keepends=True)
    kept = [line for i, line in enumerate(lines) if not (500 <= i < 503 or 700 <= i < 1300)]
    (tmp_path / "whole.csv").write_text("".join(kept))
    source.open()
    _, readings = read_all(source, len(kept))
    source.close()
    lost = [(int(reading.counts[0, 0]) // 10, reading.lost) for reading in readings if reading.lost]
    assert lost == [(503, 3), (1300, 600)]


@pytest.mark.slow
def test_same_beats(tmp_path: Path, live: BeatClassifier, settings: Config) -> None:
    """Through BrainFlow, bridge and monitor a record has the beats of the direct path; the ledger closes."""
    at_250 = record_at("208", 20.0, 250)
    source = write_playback(tmp_path / "record.csv", at_250, 256)
    run = bridge_to_monitor(source, live, lambda _run: False)
    assert run.error is None
    assert (run.ledger.sent, run.ledger.missing, run.ledger.open) == (len(at_250), 0, 0)
    (only,) = run.runs()
    leads = tuple(source_lead(name, "uV", 10.0) for name in ("ECG1", "ECG2"))
    direct = np.rint(at_250 * 10).astype(np.int32)
    assert run.beats(only) == beats_directly(direct, 250.0, leads, live, settings)
    simulated = beats_directly(*simulated_counts("208", 20.0), live, settings)
    assert len(simulated) > 20
    assert far_from(run.beats(only), simulated) == []


def test_a_silent_board_is_opened_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A board that was sending and falls silent is lost after a while, and can be opened again."""
    monkeypatch.setattr(brainflow_source, "SILENT_S", 0.5)
    source = write_playback(tmp_path / "short.csv", np.arange(100.0)[:, None], 256)
    source.open()
    source._plays_back = False
    read_all(source, 100)
    with pytest.raises(LostSourceError, match="sends nothing"):
        read_all_forever(source)
    source.close()
    source.open()
    _, readings = read_all(source, 100)
    source.close()
    assert readings[0].counts[0, 0] == 0


def read_all_forever(source: BrainflowSource) -> None:
    until_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < until_s:
        source.read(0.05)


@pytest.mark.parametrize(
    ("place", "kind", "message"),
    [
        ("", ConfigError, "no board ''"),
        ("cyt", ConfigError, "choose one of cyton, cyton_daisy"),
        ("nothing_such", ConfigError, "no board 'nothing_such': choose one of"),
        ("cyton?port=1", ConfigError, "no parameter 'port' of BrainFlow: there are file"),
        ("cyton?timeout=x", ConfigError, "parameter timeout of BrainFlow is a number"),
        ("cyton", SourceError, "Cyton cannot be started: it needs a parameter, such as"),
        ("cyton?serial_port=/dev/nowhere", SourceError, "its port cannot be opened"),
        ("crown", SourceError, "has no ECG channels, but 8 for EEG"),
        ("freeeeg32", SourceError, "has 32 channels: choose up to 16"),
        ("emotibit", SourceError, "has no channels for an ECG"),
    ],
)
def test_wrong_places(place: str, kind: type[Exception], message: str) -> None:
    """Boards and parameters that are not there, or no ECG, are refused in one line."""
    with pytest.raises(kind, match=message) as refused:
        BrainflowSource(place, SourceOptions()).open()
    assert "\n" not in str(refused.value)


def test_other_channels_by_columns() -> None:
    """EEG channels become leads where they are named; the unit may be given."""
    source = BrainflowSource("pieeg", SourceOptions(columns=(2,), unit=CountSize("mV")))
    with pytest.raises(SourceError, match="cannot be started"):
        source.open()
    assert source._layout is not None
    assert [(lead.name, lead.unit) for lead in source._layout.leads] == [("ECG1", "mV")]
    with pytest.raises(SourceError, match="has 8 EEG channels: there is no 9"):
        BrainflowSource("pieeg", SourceOptions(columns=(9,))).open()
