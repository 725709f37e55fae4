"""agent.wire.record_chunks: a record as chunks is what its replay sends."""

from pathlib import Path

import numpy as np
import pytest
import wfdb

from agent.core.messages import MISSING, Chunk, End
from agent.wire.record_chunks import record_chunks, record_leads
from model.records.wfdb_records import open_record
from simulator.record_replay import RecordReplay, ReplayPlan


@pytest.mark.parametrize("block_s", [7.77, 300.0, 1e6])
def test_chunks_are_what_the_replay_sends(block_s: float) -> None:
    """Evaluation and simulator see the same counts and leads, bit for bit, whatever the block size."""
    *chunks, end = record_chunks(open_record("114"), "run", block_s)
    replay = RecordReplay(ReplayPlan("114", "114", 0.0, None, False, None, 6.0, 0), 1000, run="run")
    *packets, last = replay
    found = [chunk for chunk in chunks if isinstance(chunk, Chunk)]
    sent = [packet for packet in packets if isinstance(packet, Chunk)]
    assert found[0].leads == sent[0].leads
    np.testing.assert_array_equal(
        np.concatenate([chunk.counts for chunk in found]), np.concatenate([packet.counts for packet in sent])
    )
    assert isinstance(end, End)
    assert isinstance(last, End)
    assert (end.bed, end.run, end.first, end.fs) == (last.bed, last.run, last.first, last.fs)
    assert [chunk.first for chunk in found] == np.cumsum([0, *(len(chunk.counts) for chunk in found[:-1])]).tolist()


def test_chosen_leads_are_the_same_alone() -> None:
    """A lead that is sent alone has the samples that it has beside the others, and its own rails and name."""
    whole = [chunk for chunk in record_chunks(open_record("114"), "run") if isinstance(chunk, Chunk)]
    for column, lead in enumerate(whole[0].leads):
        alone = [
            chunk for chunk in record_chunks(open_record("114"), "run", chosen=[lead.name]) if isinstance(chunk, Chunk)
        ]
        assert {chunk.leads for chunk in alone} == {(lead,)}
        np.testing.assert_array_equal(
            np.concatenate([chunk.counts[:, 0] for chunk in alone]),
            np.concatenate([chunk.counts[:, column] for chunk in whole]),
        )


def test_rails_beyond_the_counts(tmp_path: Path) -> None:
    """A rail that no count can reach stands beside the count that means no value, where saturated samples stand."""
    signal = np.linspace(-32_000, 32_000, 250)[:, None]
    wfdb.wrsamp(
        "made",
        fs=125,
        units=["V"],
        sig_name=["I"],
        p_signal=signal,
        fmt=["16"],
        adc_gain=[1.0],
        baseline=[0],
        write_dir=str(tmp_path),
    )
    (lead,) = record_leads(open_record(f"{tmp_path}/made"))
    assert (lead.low, lead.high) == (MISSING + 1, 2**31 - 1)
