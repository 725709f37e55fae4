"""What a file is, by its first bytes."""

import struct
import zipfile
from dataclasses import dataclass
from pathlib import Path

from model.errors import RecordError
from model.formats.text_layout import HEAD_BYTES, detect_encoding

_STRANGERS = (
    (b"\xff\xd8\xff", "a picture (JPEG)"),
    (b"\x89PNG", "a picture (PNG)"),
    (b"GIF8", "a picture (GIF)"),
    (b"BM", "a picture (BMP)"),
    (b"II*\x00", "a picture (TIFF)"),
    (b"MM\x00*", "a picture (TIFF)"),
    (b"%PDF", "a document (PDF)"),
    (b"%!PS", "a document (PostScript)"),
    (b"{\\rtf", "a document (RTF)"),
    (b"\xd0\xcf\x11\xe0", "a document of an office program: save its table as CSV"),
    (b"\x7fELF", "a program (ELF)"),
    (b"MZ", "a program (EXE)"),
    (b"\x1f\x8b", "compressed (gzip): unpack it first"),
    (b"BZh", "compressed (bzip2): unpack it first"),
    (b"\xfd7zXZ", "compressed (xz): unpack it first"),
    (b"7z\xbc\xaf", "compressed (7z): unpack it first"),
    (b"Rar!", "compressed (rar): unpack it first"),
    (b"\x89HDF", "an HDF5 file: save its arrays as .npz"),
    (b"MATLAB 7.3", "a MATLAB file of version 7.3: save it with -v7"),
    (b"SQLite format 3", "a database (SQLite)"),
    (b"PAR1", "a Parquet file: save its table as CSV"),
    (b"ID3", "music (MP3)"),
)
_SOUNDS = (b"fLaC", b"OggS", b"RF64", b"FORM")
_ARRAYS = b"\x93NUMPY"
_MATLAB = b"MATLAB 5.0"
MATLAB_TYPES = (0, 10, 20, 30, 40, 50)
"""Types of real full matrices in little-endian files of MATLAB 4."""


@dataclass(frozen=True, slots=True)
class FileKind:
    """`format`: "text", "edf", "sound", "arrays" or "device". `detail`: encoding of a text, kind of arrays."""

    format: str
    detail: str = ""


def find_file_kind(path: Path) -> FileKind:
    """Return what a file is. Raises RecordError for an empty one, or what is certainly no recording."""
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    if not head.strip():
        raise RecordError(f"{path.name} is empty")
    if head.startswith((b"0       ", b"\xffBIOSEMI")):
        return FileKind("edf")
    if head.startswith(_SOUNDS) or (head.startswith(b"RIFF") and head[8:12] == b"WAVE"):
        return FileKind("sound")
    if head.startswith(_ARRAYS):
        return FileKind("arrays", "npy")
    if head.startswith(b"PK"):
        return _archive_kind(path)
    if head.startswith(_MATLAB) or _is_old_matlab(head):
        return FileKind("arrays", "mat")
    for start, what in _STRANGERS:
        if head.startswith(start):
            if start in (b"BM", b"MZ", b"ID3") and detect_encoding(head):
                continue  # a word of a text
            raise RecordError(f"{path.name} is no recording: it is {what}")
    if head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<") or head.startswith((b"\xff\xfe<", b"\xfe\xff\x00<")):
        return FileKind("device")
    encoding = detect_encoding(head)
    return FileKind("text", encoding) if encoding else FileKind("device")


def _archive_kind(path: Path) -> FileKind:
    """Return that an archive holds arrays. Raises RecordError for any other."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise RecordError(f"{path.name} is a damaged archive") from error
    if any(name.endswith(".npy") for name in names):
        return FileKind("arrays", "npz")
    if any(name.startswith("xl/") for name in names):
        raise RecordError(f"{path.name} is no recording: it is an Excel workbook: save its table as CSV")
    raise RecordError(f"{path.name} is no recording: it is an archive (zip): unpack it first")


def _is_old_matlab(head: bytes) -> bool:
    """Whether a file begins as those of MATLAB 4 do: type, rows, columns, imaginary part, length of a name."""
    if len(head) < 20:
        return False
    kind, rows, columns, imaginary, name = struct.unpack("<5i", head[:20])
    return kind in MATLAB_TYPES and rows > 0 and columns > 0 and imaginary in (0, 1) and 0 < name < 64
