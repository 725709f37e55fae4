"""Make the embedded database from PhysioNet's published files: `python -m model.records.build_database SOURCE`.

SOURCE holds the folders `mitdb` and `nstdb` as downloaded. The signals are packed losslessly into WFDB's FLAC format
(516); the headers change only in the file name and format number; the annotations are copied. Every source file is
checked against its published SHA-256 before it is packed, and the published sums are kept with the result.
"""

import hashlib
import re
import sys
from pathlib import Path

import soundfile
import wfdb

TARGET_FOLDER = Path(__file__).parent / "database"
NOISE_RECORDS = ("bw", "ma")
FLAC_RATE = 96000
"""FLAC needs an audio rate; WFDB writes this one and takes the true rate from the header."""


def published_sums(folder: Path) -> dict[str, str]:
    """Return the SHA-256 (hex) of each file that `folder/SHA256SUMS.txt` lists, by file name."""
    lines = (folder / "SHA256SUMS.txt").read_text().splitlines()
    return {name: digest for digest, name in (line.split(maxsplit=1) for line in lines)}


def embed_record(source: Path, record: str, target: Path) -> list[str]:
    """Pack one record into `target` and return the names of its published files.

    Ends the program if a file is not the published one.
    """
    sums = published_sums(source)
    names = [f"{record}{ending}" for ending in (".dat", ".hea", ".atr") if (source / f"{record}{ending}").exists()]
    for name in names:
        if hashlib.sha256((source / name).read_bytes()).hexdigest() != sums[name]:
            raise SystemExit(f"{source / name} is not the published file: its SHA-256 differs")
    signal = wfdb.rdrecord(str(source / record), physical=False).d_signal.astype("int16")
    soundfile.write(target / f"{record}.flac", signal, FLAC_RATE, subtype="PCM_16", compression_level=1.0)
    header = (source / f"{record}.hea").read_bytes()
    (target / f"{record}.hea").write_bytes(re.sub(rb"\.dat 212 ", b".flac 516 ", header))
    if (source / f"{record}.atr").exists():
        (target / f"{record}.atr").write_bytes((source / f"{record}.atr").read_bytes())
    return names


def embed_records(source: Path, records: list[str], target: Path) -> None:
    """Pack `records` of one published folder, with the list of their SHA-256 sums."""
    target.mkdir(parents=True, exist_ok=True)
    names = [name for record in records for name in embed_record(source, record, target)]
    sums = published_sums(source)
    (target / "SHA256SUMS.txt").write_text("".join(f"{sums[name]} {name}\n" for name in names))


def main(source: Path) -> None:
    """Pack both databases of `source` into this package."""
    embed_records(source / "mitdb", (source / "mitdb" / "RECORDS").read_text().split(), TARGET_FOLDER / "mitdb")
    embed_records(source / "nstdb", list(NOISE_RECORDS), TARGET_FOLDER / "nstdb")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
