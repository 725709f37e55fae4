"""The compiled parts as a library, and how arrays are handed to them."""

import ctypes
import os
from functools import cache
from typing import Any

from numpy.typing import NDArray

from model.compiled.sources import LIBRARY, LIBRARY_VARIABLE, digest_sources


@cache
def load_library() -> ctypes.CDLL | None:
    """Return the library; None where it was not built, or from other sources than are there, or is not wanted."""
    if os.environ.get(LIBRARY_VARIABLE) == "0":
        return None
    try:
        library = ctypes.CDLL(str(LIBRARY))
        library.source_digest.restype = ctypes.c_char_p
        is_current = library.source_digest() == digest_sources().encode()
    except (OSError, AttributeError):
        return None
    return library if is_current else None


def array_address(array: NDArray[Any]) -> int:
    """Return where the values of a contiguous array lie. Whoever uses it keeps the array."""
    assert array.flags.c_contiguous
    address: int = array.__array_interface__["data"][0]
    return address


def array_pointers(*arrays: NDArray[Any]) -> list[ctypes.c_void_p]:
    """Return where contiguous arrays lie, as a call in C takes it. Whoever uses that keeps the arrays."""
    return [ctypes.c_void_p(array_address(array)) for array in arrays]
