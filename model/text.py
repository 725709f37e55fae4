"""Text for people: what is safe to show in a terminal, and times as a clock shows them."""

from collections.abc import Sequence

LONGEST_SHOWN_NAME = 40
"""Characters of a name from outside in a line for people; programs get it whole."""


def make_printable(text: str, longest: int | None = None, ascii_only: bool = False) -> str:
    """Return the first `longest` characters of a text from outside, each unprintable one as a question mark.

    A control character could move the cursor or set the colours of a terminal. With `ascii_only` whatever is not ASCII
    becomes a question mark as well.
    """
    text = text[:longest]
    if ascii_only and not text.isascii():
        text = text.encode("ascii", "replace").decode()
    return text if text.isprintable() else "".join(char if char.isprintable() else "?" for char in text)


def shorten_name(name: str, most: int = LONGEST_SHOWN_NAME) -> str:
    """Return a name in a line for people, with an ellipsis in place of what is beyond `most` characters.

    >>> shorten_name("bed-7"), shorten_name("bed of a patient with a long name", most=24)
    ('bed-7', 'bed of a patient with...')
    """
    return name if len(name) <= most else f"{name[: most - 3].rstrip()}..."


def name_some(names: Sequence[str], most: int = 5) -> str:
    """Return names from outside in a line for people, and how many more there are than `most`.

    >>> name_some(["bed-1", "bed-2", "bed-3"], most=2)
    'bed-1, bed-2 and 1 more'
    """
    shown = ", ".join(make_printable(shorten_name(name)) for name in names[:most])
    return shown + (f" and {len(names) - most} more" if len(names) > most else "")


def format_clock(seconds: float, decimals: int = 0, hour_digits: int = 1) -> str:
    """Return a time of zero or more seconds as h:mm:ss, rounded to `decimals` digits of a second.

    With two `hour_digits` as hh:mm:ss, with none as m:ss, however many minutes there are.

    Examples
    --------
    >>> format_clock(3725.06, decimals=1), format_clock(3725, hour_digits=2), format_clock(3725, hour_digits=0)
    ('1:02:05.1', '01:02:05', '62:05')
    """
    whole, point, fraction = f"{seconds:.{decimals}f}".partition(".")
    minutes, rest = divmod(int(whole), 60)
    if not hour_digits:
        return f"{minutes}:{rest:02}{point}{fraction}"
    return f"{minutes // 60:0{hour_digits}}:{minutes % 60:02}:{rest:02}{point}{fraction}"
