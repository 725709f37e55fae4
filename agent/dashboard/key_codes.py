"""What a terminal sends for each key, in either mode of its arrow and page keys."""

import re

KEY_PATTERN = re.compile(r"\x1b\[[0-9;]*[A-Za-z~]|\x1bO[A-Z]|.", re.DOTALL)
"""One key: an escape sequence, else a single character."""
INTERRUPT_KEY, ESCAPE_KEY = "\x03", "\x1b"
ENTER_KEYS, ERASE_KEYS = ("\r", "\n"), ("\x7f", "\b")
UP_KEYS, DOWN_KEYS, LEFT_KEYS, RIGHT_KEYS = (("\x1b[" + key, "\x1bO" + key) for key in "ABDC")
FIRST_KEYS, LAST_KEYS = ("\x1b[H", "\x1bOH", "\x1b[1~", "\x1b[7~"), ("\x1b[F", "\x1bOF", "\x1b[4~", "\x1b[8~")
PAGE_STEPS = {"\x1b[6~": 1, "\x1b[5~": -1}
BED_STEPS = {"n": 1, "\t": 1, "p": -1, "\x1b[Z": -1}
# Keys without Shift count, too: = is on the key of +, and [ ] are where < > are hard to type
GAIN_STEPS = {"+": -1, "=": -1, "-": 1, "_": 1}
TIME_STEPS = {"<": -1, ",": -1, "[": -1, ">": 1, ".": 1, "]": 1}
TIME_STEPS |= dict.fromkeys(LEFT_KEYS, -1) | dict.fromkeys(RIGHT_KEYS, 1)
