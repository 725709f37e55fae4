"""model.formats.device_records: recordings in formats of devices, written here by their specifications."""

import base64
import struct
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from support.tables import microvolts, opened

from model.errors import RecordError

pytest.importorskip("ecgdatakit", reason="these formats need the extra formats")

LEADS: dict[str, NDArray[np.int64]] = {"I": microvolts(20.0)[:5000, 0] // 5, "II": microvolts(20.0)[:5000, 1] // 5}
START = datetime(2020, 2, 3, 22, 1, 3)


def aecg() -> str:
    """Return HL7 aECG of 5 microvolts a step."""
    sequences = "".join(
        f'<component><sequence><code code="MDC_ECG_LEAD_{name}" codeSystem="2.16.840.1.113883.6.24"/>'
        f'<value xsi:type="SLIST_PQ"><origin value="0" unit="uV"/><scale value="5" unit="uV"/>'
        f"<digits>{' '.join(map(str, steps))}</digits></value></sequence></component>"
        for name, steps in LEADS.items()
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?><AnnotatedECG xmlns="urn:hl7-org:v3" '
        'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><id root="1.2.3"/>'
        '<code code="93000" codeSystem="2.16.840.1.113883.6.12"/><component><series><id root="1.2.4"/>'
        '<code code="RHYTHM" codeSystem="2.16.840.1.113883.5.4"/>'
        '<effectiveTime><low value="20200203220103.000"/><high value="20200203220113.000"/></effectiveTime>'
        '<component><sequenceSet><component><sequence><code code="TIME_ABSOLUTE" codeSystem="2.16.840.1.113883.5.4"/>'
        '<value xsi:type="GLIST_TS"><head value="20200203220103.000"/><increment value="0.002" unit="s"/></value>'
        f"</sequence></component>{sequences}</sequenceSet></component></series></component></AnnotatedECG>"
    )


def muse(rate: int = 500, microvolts_a_step: float = 5.0) -> str:
    """Return the XML of a MUSE."""
    leads = "".join(
        f"<LeadData><LeadByteCountTotal>{2 * len(steps)}</LeadByteCountTotal><LeadTimeOffset>0</LeadTimeOffset>"
        f"<LeadSampleCountTotal>{len(steps)}</LeadSampleCountTotal>"
        f"<LeadAmplitudeUnitsPerBit>{microvolts_a_step}</LeadAmplitudeUnitsPerBit>"
        f"<LeadAmplitudeUnits>MICROVOLTS</LeadAmplitudeUnits><LeadID>{name}</LeadID>"
        "<LeadOffsetFirstSample>0</LeadOffsetFirstSample><LeadSampleSize>2</LeadSampleSize>"
        f"<WaveFormData>{base64.b64encode(steps.astype('<i2').tobytes()).decode()}</WaveFormData></LeadData>"
        for name, steps in LEADS.items()
    )
    return (
        '<?xml version="1.0" encoding="ISO-8859-1"?><RestingECG><MuseInfo><MuseVersion>8.0</MuseVersion></MuseInfo>'
        "<TestDemographics><AcquisitionTime>22:01:03</AcquisitionTime><AcquisitionDate>02-03-2020</AcquisitionDate>"
        "</TestDemographics><Waveform><WaveformType>Rhythm</WaveformType><NumberofLeads>2</NumberofLeads>"
        f"<SampleBase>{rate}</SampleBase><SampleExponent>0</SampleExponent>{leads}</Waveform></RestingECG>"
    )


def ishne(rate: int = 500, nanovolts_a_step: int = 5000) -> bytes:
    """Return an ISHNE Holter file: magic, checksum, header of 512 bytes, interleaved samples."""
    samples = np.stack(list(LEADS.values()), axis=1).astype("<i2")
    fixed = bytearray(512)
    struct.pack_into("<iiiih", fixed, 0, 0, len(samples), 522, 522, 1)
    struct.pack_into("<12h", fixed, 122, 1, 1, 1970, 3, 2, 2020, 3, 2, 2020, 22, 1, 3)
    struct.pack_into("<h", fixed, 146, len(LEADS))
    absent = [-9] * 10
    struct.pack_into("<36h", fixed, 148, 5, 6, *absent, 0, 0, *absent, *[nanovolts_a_step] * 2, *absent)
    struct.pack_into("<h", fixed, 262, rate)
    return b"ISHNE1.0\x00\x00" + bytes(fixed) + samples.tobytes()


@pytest.mark.parametrize("name", ["a.xml", "b.xml", "c.ecg", "c.dat"])
def test_formats(tmp_path: Path, name: str) -> None:
    """HL7 aECG, MUSE XML and ISHNE, whatever their ending, give rate, length, start, and leads in millivolts."""
    contents: dict[str, str | bytes] = {"a": aecg(), "b": muse(), "c": ishne()}
    content = contents[name[0]]
    record, found = opened(tmp_path / name, content)
    assert (record.fs, record.length, record.start) == (500.0, 5000, START)
    assert [(signal.name, signal.unit) for signal in record.signals] == [("I", "mV"), ("II", "mV")]
    np.testing.assert_allclose(found, np.stack(list(LEADS.values()), axis=1) * 0.005, atol=1e-9)


def test_long_recordings_are_mapped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A long recording is read from a copy on disk, which goes with its record."""
    monkeypatch.setattr("model.formats.held_samples.MAPPED_BYTES", 1000)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    record, found = opened(tmp_path / "a.ecg", ishne())
    assert len(list(tmp_path.glob("ecg-agent-*/*.npy"))) == len(LEADS)
    np.testing.assert_allclose(found[:, 0], LEADS["I"] * 0.005, atol=1e-9)
    del record
    assert list(tmp_path.glob("ecg-agent-*")) == []


@pytest.mark.parametrize(
    ("content", "stated", "reason"),
    [
        (muse(microvolts_a_step=50_000_000.0), {}, "its resolution is wrong"),
        (muse(rate=5), {}, "says 5 Hz, which is no rate of an ECG"),
        (muse(), {"fs": 250.0}, "has a sampling rate of 500 Hz, not 250: leave --fs out"),
        (ishne()[:300], {}, "cannot read a.dat"),
        (aecg()[:2000], {}, "cannot read a.dat|no ECG file that is known"),
        ("<html><body>no ECG</body></html>", {}, "no ECG file that is known"),
    ],
    ids=["resolution", "rate", "another rate", "ISHNE cut", "aECG cut", "page"],
)
def test_nonsense_is_refused(tmp_path: Path, content: str | bytes, stated: dict[str, Any], reason: str) -> None:
    """A rate or a resolution that no ECG has, a contradiction and a damaged file are refused in one line."""
    with pytest.raises(RecordError, match=reason) as caught:
        opened(tmp_path / "a.dat", content, **stated)
    assert "\n" not in str(caught.value)
