"""Times in an EDF+ file, rounded to what they mean: sums of floats end in digits that strict readers refuse."""

import re
from io import BufferedWriter
from pathlib import Path

ONSET_DECIMALS = 6
"""Decimals of the start and of the length of a data record, and so of each multiple."""
_LIST = re.compile(rb"([+-]\d+(?:\.\d+)?)((?:\x15\d+(?:\.\d+)?)?\x14[^\x00]*\x14\x00)")
_LABEL = b"EDF Annotations"


def round_onsets(file: BufferedWriter) -> None:
    """Round the onsets of all annotations in an EDF+ file that was just written, each where it stands.

    A data record must begin where the one before it ends, to a tenth of a microsecond: "+3.8919449999999998", the
    float that is nearest to 3.891945, does not.
    """
    file.flush()
    with Path(file.name).open("r+b") as written:
        fixed = written.read(256)
        start, records, count = int(fixed[184:192]), int(fixed[236:244]), int(fixed[252:256])
        described = written.read(256 * count)
        labels = [described[16 * i : 16 * i + 16].strip() for i in range(count)]
        sizes = [2 * int(described[216 * count + 8 * i : 216 * count + 8 * i + 8]) for i in range(count)]
        for signal in (i for i, label in enumerate(labels) if label == _LABEL):
            for record in range(records):
                written.seek(start + record * sum(sizes) + sum(sizes[:signal]))
                lists = written.read(sizes[signal])
                rounded = _LIST.sub(_round_onset, lists)
                if rounded != lists:
                    written.seek(-len(lists), 1)
                    written.write(rounded.ljust(len(lists), b"\x00"))


def _round_onset(found: re.Match[bytes]) -> bytes:
    """Return an annotation list with its onset rounded, which makes it no longer."""
    onset = f"{float(found[1]):+.{ONSET_DECIMALS}f}".rstrip("0").rstrip(".")
    return onset.encode() + found[2]
