"""Large digits for the heart rate."""

from functools import lru_cache

DIGIT_PIXELS = {
    "0": (".###.", "#...#", "#...#", "#...#", "#...#", ".###."),
    "1": ("..#..", ".##..", "..#..", "..#..", "..#..", ".###."),
    "2": (".###.", "#...#", "...#.", "..#..", ".#...", "#####"),
    "3": ("####.", "....#", ".###.", "....#", "....#", "####."),
    "4": ("#..#.", "#..#.", "#..#.", "#####", "...#.", "...#."),
    "5": ("#####", "#....", "####.", "....#", "....#", "####."),
    "6": (".###.", "#....", "####.", "#...#", "#...#", ".###."),
    "7": ("#####", "....#", "...#.", "..#..", "..#..", "..#.."),
    "8": (".###.", "#...#", ".###.", "#...#", "#...#", ".###."),
    "9": (".###.", "#...#", "#...#", ".####", "....#", ".###."),
    "-": (".....", ".....", ".###.", ".....", ".....", "....."),
    " ": (".....",) * 6,
}
DIGIT_STROKES = {
    "0": (" _ ", "| |", "|_|"),
    "1": ("   ", "  |", "  |"),
    "2": (" _ ", " _|", "|_ "),
    "3": (" _ ", " _|", " _|"),
    "4": ("   ", "|_|", "  |"),
    "5": (" _ ", "|_ ", " _|"),
    "6": (" _ ", "|_ ", "|_|"),
    "7": (" _ ", "  |", "  |"),
    "8": (" _ ", "|_|", "|_|"),
    "9": (" _ ", "|_|", " _|"),
    "-": ("   ", " _ ", "   "),
    " ": ("   ",) * 3,
}
HALF_BLOCKS = {("#", "#"): "█", ("#", "."): "▀", (".", "#"): "▄", (".", "."): " "}


@lru_cache(maxsize=64)
def large_digit_rows(text: str, scale: int, ascii_only: bool) -> tuple[str, ...]:
    """Return rows of large characters for a text of digits, minus signs and spaces.

    At scale 1 there are 3 rows with 6 cells per character (4 in ASCII), at scale 2 twice as many; ASCII has no scale 2.

    Examples
    --------
    >>> large_digit_rows("1", 1, True)
    ('   ', '  |', '  |')
    """
    if ascii_only:
        return tuple(" ".join(DIGIT_STROKES[char][row] for char in text) for row in range(3))
    pixels = []
    for row in range(6):
        wide = (".".join(DIGIT_PIXELS[char][row] for char in text)).replace("#", "#" * scale).replace(".", "." * scale)
        pixels += [wide] * scale
    pairs = zip(pixels[::2], pixels[1::2], strict=True)
    return tuple("".join(HALF_BLOCKS[pair] for pair in zip(upper, lower, strict=True)) for upper, lower in pairs)
