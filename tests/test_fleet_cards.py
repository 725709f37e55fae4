"""The cards of a view of a fleet: whole words, and of a sentence as many of them as there is room for."""

import re
from pathlib import Path
from typing import Any

import pytest
import test_fleet_watch
from test_fleet_store import beat
from test_fleet_watch import HandFleet

from agent.core.config import Config
from agent.dashboard.lines import elide_words
from agent.dashboard.styles import ASCII_GLYPHS
from agent.dashboard.view import DashboardView
from agent.store.store_messages import AlarmTold

ALARMS: list[tuple[Any, Any, str]] = [
    ("couplet", "low", "2 V beats in a row at 107/min"),
    ("asystole", "high", "no QRS for 4.0 s"),
    ("lead off", "medium", "lead II is flat"),
    ("extreme bradycardia", "high", "extreme bradycardia: HR 36 < 40"),
]
SAID = (
    "1 2 monitor monitors alive silent told by first nobody no alarm over signal ok NO MONITOR FLEET: no word of "
    "second on host for s and more beds have since to COUPLET ASYSTOLE LEAD OFF BRADY m silence N"
)
WORDS = {*SAID.split(), *" ".join(f"{condition} {text}" for condition, _, text in ALARMS).split()}


def told(name: str, place: int) -> AlarmTold:
    condition, priority, text = ALARMS[place % 4]
    times = 500, 994.0, 1, 700 if place % 3 else None, None
    return AlarmTold(name, "r", condition, 400, priority, text, *times)


@pytest.mark.parametrize("keep", ["first second", "first", ""])
@pytest.mark.parametrize("beds", [2, 12, 30, 60])
def test_no_word_is_cut(
    tmp_path: Path, settings: Config, monkeypatch: pytest.MonkeyPatch, beds: int, keep: str
) -> None:
    """From 80 columns on a card has whole words, fewer where there is little room."""
    names = [str(100 + number) for number in range(beds)]
    monkeypatch.setattr(test_fleet_watch, "BEDS", names)
    fleet = HandFleet(tmp_path / "many.db", settings)
    alarms = [told(name, place) for place, name in enumerate(names)]
    fleet.tell("first", *(beat(900, bed=name) for name in names), alarms=alarms)
    fleet.turn(3.0, keep=keep)
    for size in [(80, 24), (100, 30), (118, 30), (132, 43), (200, 50)]:
        fleet.view = DashboardView(ascii=True)
        cards = " ".join(fleet.picture(size=size).splitlines()[2:-1])
        words = {word.removesuffix("~") for word in cards.split() if re.fullmatch("[A-Za-z:]+~?", word)}
        cut = {word for word in words - WORDS if any(whole.startswith(word) for whole in WORDS)}
        assert not cut, size
        counts = re.findall(r"\d (?:monitors?|alive|silent)", cards)
        assert len(counts) >= min(beds, 10), "each card says who is there"
    fleet.close()


@pytest.mark.parametrize(
    ("width", "elided"),
    [
        (29, "2 V beats in a row at 107/min"),
        (28, "2 V beats in a row at~"),
        (22, "2 V beats in a row at~"),
        (21, "2 V beats in a row~"),
        (8, "2 V~"),
        (2, "2~"),
    ],
)
def test_sentences_are_cut_between_words(width: int, elided: str) -> None:
    """What is left of a sentence are whole words; of a single word that does not fit, as much as fits."""
    assert elide_words("2 V beats in a row at 107/min", width, ASCII_GLYPHS) == elided
    assert elide_words("fibrillatory", 6, ASCII_GLYPHS) == "fibri~"
