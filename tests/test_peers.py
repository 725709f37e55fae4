from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from benchmarks import peers
from benchmarks.detection import detect, load, score


def tally_of(find: Callable[[peers.Signal], Any], name: str = "100") -> peers.Tally:
    tally = peers.Tally("1.0", causal=False)
    peers.run(tally, find, name, load(name).astype(np.float64))
    return tally


def test_missing_package(capsys: pytest.CaptureFixture[str]) -> None:
    """A peer that is not installed is left out, in a line that says what to install."""
    peer = peers.Peer("Peer", "peer", "some-peer", ("peer_that_nobody_has",), lambda _, x: x)
    assert peers.installed(peer) is None
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("Peer is left out")
    assert line.endswith("pip install some-peer")


@pytest.mark.parametrize("found", [None, [np.nan], [[1, 2], [3, 4, 5]]], ids=["raises", "NaN", "ragged"])
def test_failure(found: Any) -> None:
    """A record on which a peer fails, or returns something other than samples, counts as missed and is named."""

    def find(_: peers.Signal) -> Any:
        if found is None:
            raise IndexError("list index out of range")
        return found

    result = peers.figures(tally_of(find))
    assert list(result["failed"]) == ["100"]
    assert (result["found"], result["missed"], result["extra"]) == (0, 1902, 0)
    assert result["worst"] == ["100"]
    assert "| 0.00 | 0.00 |" in peers.table({"Peer": result})


def test_nothing_found() -> None:
    """A peer that finds no beat has missed them all, but has not failed."""
    result = peers.figures(tally_of(lambda _: []))
    assert (result["failed"], result["missed"]) == ({}, 1902)


def test_same_scores() -> None:
    """Our detector has the same figures here as in `benchmarks.detection`."""
    row, errors, _ = score("108", detect(load("108")))
    result = peers.figures(tally_of(lambda x: peers.OURS.find(None, x), "108"))
    assert [result[key] for key in ("found", "missed", "extra")] == [row[key] for key in ("found", "missed", "extra")]
    assert result["error_sd_ms"] == pytest.approx(errors.std())
