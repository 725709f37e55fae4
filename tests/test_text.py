from hypothesis import given
from hypothesis import strategies as st

from model.text import format_clock, make_printable


@given(st.text(), st.none() | st.integers(0, 8), st.booleans())
def test_text_is_safe_to_show(text: str, longest: int | None, ascii_only: bool) -> None:
    """The text is printable and as long as the one that went in, or as `longest`; printable characters stay."""
    shown = make_printable(text, longest, ascii_only)
    assert shown.isprintable()
    assert len(shown) == len(text[:longest])
    assert shown.isascii() or not ascii_only
    for before, after in zip(text, shown, strict=False):
        assert after == (before if before.isprintable() and (before.isascii() or not ascii_only) else "?")


def test_clock() -> None:
    """Hours are left out, or have as many digits as asked for; the last digit is rounded, and carries."""
    assert format_clock(0) == "0:00:00"
    assert format_clock(86_399.4) == "23:59:59"
    assert format_clock(3599.96, decimals=1) == "1:00:00.0"
    assert format_clock(3725.008, decimals=2, hour_digits=2) == "01:02:05.01"
    assert format_clock(362_439, hour_digits=2) == "100:40:39"
    assert format_clock(3725, hour_digits=0) == "62:05"
    assert format_clock(7.25, decimals=3, hour_digits=0) == "0:07.250"
