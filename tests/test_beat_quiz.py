"""agent.evaluation.beat_quiz and `ecg-agent quiz`: the questions, the answers, the score."""

import subprocess
from collections import Counter

import numpy as np
import pytest
from rich.segment import Segment
from support.agent_process import run_agent
from test_cli import environment

from agent.analysis.beat_classifier import BeatClassifier
from agent.core.config import Config
from agent.dashboard.quiz_trace import BEAT_MARK, quiz_trace_lines
from agent.dashboard.styles import ASCII_GLYPHS, UNICODE_GLYPHS, GlyphSet
from agent.evaluation.beat_quiz import AskedBeat, BeatQuiz, QuizScore
from model.errors import ConfigError, RecordError
from model.records.wfdb_records import open_record, read_reference
from model.scoring.ec57 import scorable_beats

WAVE = np.sin(np.arange(750) / 10).astype(np.float32)
QUESTION = AskedBeat(WAVE, 450, 12.0, "L", "N", "V", 0.755)


def quiz(record: str = "208", kind: str | None = None, rounds: int = 20, seed: int = 1) -> BeatQuiz:
    return BeatQuiz(open_record(record), kind, rounds, np.random.default_rng(seed))


def labels(made: BeatQuiz) -> Counter[str]:
    return Counter(made._symbols[index] for index in made.chosen)


def test_rare_beats_are_asked_for() -> None:
    """Each class of a record has the same chance, so that 20 rounds of 208 have more than N and V; none comes twice."""
    made = quiz()
    assert len(made.chosen) == len(set(made.chosen)) == 20
    assert made.chosen == sorted(made.chosen)
    assert set(labels(made)) >= {"N", "V", "F"}
    assert quiz().chosen == made.chosen
    assert quiz(seed=2).chosen != made.chosen


def test_every_second_question_is_of_the_kind() -> None:
    """With --beat half of the questions are such beats, the others are not."""
    assert labels(quiz("119", "V", 10)) == {"V": 5, "N": 5}
    assert labels(quiz("109", "L", 10))["L"] == 5
    with pytest.raises(ConfigError, match="record 100 has no beats F"):
        quiz("100", "F")
    with pytest.raises(RecordError, match="has no annotations"):
        quiz("ma")


def test_few_beats_make_few_rounds() -> None:
    """A record has no more questions than beats; asked for one kind only, the others fill the rounds."""
    assert len(quiz("100", "V", 30).chosen) == 30
    assert labels(quiz("100", "V", 30))["V"] == 1


def test_the_symbols_are_those_of_the_beats() -> None:
    """Flutter has no beats: of record 207 the symbols are as many as the beats that are scored."""
    made = quiz("207")
    samples, _ = scorable_beats(read_reference(open_record("207")))
    assert len(made._symbols) == len(samples)


def test_the_verdict_is_of_the_same_beat(settings: Config, classifier: BeatClassifier) -> None:
    """Each question shows the beat at its mark, with the monitor's verdict of it."""
    made = quiz("100", None, 3, 5)
    made.chosen = [40, 45, 50]
    for question in made.questions(settings, classifier):
        around = question.wave[question.marked - 15 : question.marked + 16]
        assert float(np.nanmax(question.wave)) - float(np.nanmax(around)) < 0.3
        assert len(question.wave) == 750
        assert question.verdict in ("N", "S", "V", "F", "Q")
        assert 0 < question.confidence <= 1
        assert question.label == "N"


@pytest.mark.parametrize("glyphs", [UNICODE_GLYPHS, ASCII_GLYPHS])
def test_the_mark_stands_at_the_beat(glyphs: GlyphSet) -> None:
    """The same column above and below the wave, in lines of exact width."""
    lines = ["".join(part.text for part in line if isinstance(part, Segment)) for line in _drawn(glyphs)]
    assert {len(line) for line in lines} == {79}
    assert lines[0].index(BEAT_MARK) == lines[-1].index(BEAT_MARK) == 5 + 450 * 74 // 750
    assert len(lines) == 14


def _drawn(glyphs: GlyphSet) -> list[list[Segment]]:
    return quiz_trace_lines(WAVE, 450, (79, 14), glyphs)


def test_the_score() -> None:
    """Right is what the reference says; the monitor is counted beside it."""
    score = QuizScore()
    assert not score.add(QUESTION, "V")
    assert score.add(QUESTION, "N")
    assert (score.asked, score.right, score.monitor.total()) == (2, 1, 0)
    assert QUESTION.reference_text == "N, left bundle branch block beat (L)"
    assert QUESTION.verdict_text == "V, 76 % sure"


def play(answers: str, *words: str) -> "subprocess.CompletedProcess[str]":
    return run_agent(["quiz", *words], answers, env=environment())


def test_a_quiz_in_a_pipe() -> None:
    """Plain text of 80 columns; a wrong letter is asked again, the end of the input ends the quiz with its table."""
    done = play("n\nw\nV\n", "119", "--beat", "V", "--rounds", "3", "--seed", "2")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert "\x1b" not in done.stdout
    assert max(map(len, lines)) <= 80
    assert done.stdout.count("Which class is the beat at the ?") == 4
    assert "answer with one of the letters N S V F Q, or x to end" in lines
    assert sum(line.startswith(("right: you", "wrong: you")) for line in lines) == 2
    assert lines[-1].startswith(("0 of 2", "1 of 2", "2 of 2"))


def test_x_ends_a_quiz_at_once() -> None:
    """Without an answer there is no table."""
    done = play("x\n", "100", "--rounds", "2", "--seed", "1")
    assert done.returncode == 0
    assert "reference  " not in done.stdout
