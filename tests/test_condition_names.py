"""One long and one short name of each alarm condition, and the page that lists them."""

import re
from pathlib import Path
from typing import get_args

from agent.alarms.priorities import CONDITION_SPECS
from agent.core.condition_names import SHORT_CONDITIONS, TECHNICAL_CONDITIONS, short_condition
from agent.core.messages import AlarmCondition

PAGE = Path(__file__).parents[1] / "docs" / "alarms.md"


def test_the_page_has_both_names() -> None:
    """The table of docs/alarms.md has every condition by its long name, and beside it the short one."""
    text = PAGE.read_text()
    table = text[text.index("| condition |") :].partition("\n\n")[0].splitlines()[2:]
    found: dict[str, str] = {}
    for row in table:
        long, short = (cell.strip().split(", ") for cell in row.strip("|").split("|")[:2])
        names = [long[0], *(name if name in SHORT_CONDITIONS else re.sub(r"\S+$", name, long[0]) for name in long[1:])]
        found |= dict(zip(names, short, strict=True))
    assert found == SHORT_CONDITIONS


def test_every_condition_is_named() -> None:
    """Each condition has a short name, of the heart or of the device, and one that is not known keeps its own."""
    assert set(SHORT_CONDITIONS) == set(get_args(AlarmCondition)) == set(CONDITION_SPECS)
    assert set(SHORT_CONDITIONS) >= TECHNICAL_CONDITIONS
    assert short_condition("ventricular tachycardia") == "VT"
    assert short_condition("something new") == "SOMETHING NEW"
