"""`ecg-agent quiz`: which class is this beat? Against the reference annotations, and beside the monitor."""

import shutil
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from agent.cli.options import (
    USUAL_RECORD,
    ConfigFileOption,
    DeviceOption,
    LeadOption,
    WeightsOption,
    load_net_config,
    usual_record_argument,
)
from agent.cli.simulate import check_lead

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from agent.dashboard.styles import GlyphSet
    from agent.evaluation.beat_quiz import AskedBeat, QuizScore

TRACE_LINES, MOST_COLUMNS, PIPED_COLUMNS = 14, 120, 80
QUESTION = "Which class is the beat at the ?  N, S, V, F or Q (x ends): "


def ask_beats(
    record: Annotated[str | None, usual_record_argument("one that has the beats of --beat")] = None,
    beat: Annotated[
        str | None,
        typer.Option(metavar="KIND", help="Ask for these in every second round: class or symbol, as V or L."),
    ] = None,
    rounds: Annotated[int, typer.Option(metavar="NUMBER", help="Beats to ask for.", min=1, max=1000)] = 10,
    seed: Annotated[
        int | None, typer.Option(metavar="NUMBER", help="Choose the beats: the same number asks for the same.", min=0)
    ] = None,
    lead: LeadOption = None,
    weights: WeightsOption = None,
    device: DeviceOption = None,
    config: ConfigFileOption = None,
) -> None:
    """Ask which class beats have, N S V F or Q, and compare the answers with the reference and the monitor."""
    settings = load_net_config(config, weights, device, lead)
    import numpy as np
    from rich.console import Console

    from agent.dashboard.styles import ASCII_GLYPHS, UNICODE_GLYPHS
    from agent.dashboard.terminal import needs_ascii
    from agent.evaluation.beat_quiz import BeatQuiz, QuizScore
    from agent.evaluation.record_analysis import load_configured_classifier
    from model.records.episodes import CLASS_NAMES
    from model.records.wfdb_records import open_record
    from simulator.episode_list import check_quiz_beat, choose_record

    check_quiz_beat(beat)
    name = record if record is not None else choose_record(beat, USUAL_RECORD)
    if lead is not None:
        check_lead(name, lead)
    quiz = BeatQuiz(open_record(name), beat, rounds, np.random.default_rng(seed))
    if sys.stdout.isatty():
        typer.echo("ecg-agent: loading the net; each question takes a moment", err=True)
    questions = quiz.questions(settings, load_configured_classifier(settings))
    columns = shutil.get_terminal_size().columns if sys.stdout.isatty() else PIPED_COLUMNS
    console = Console(highlight=False, width=min(columns, MOST_COLUMNS))
    ascii_only = settings.dashboard.ascii or needs_ascii(console, "")
    console.print(", ".join(f"{label} {name}" for label, name in CLASS_NAMES.items()), markup=False)
    score = QuizScore()
    for number, question in enumerate(questions, 1):
        heading = f"{number} of {len(quiz.chosen)}  record {quiz.record.name}"
        if not _play_round(question, heading, score, console, ASCII_GLYPHS if ascii_only else UNICODE_GLYPHS):
            break
    if score.asked:
        console.print(build_quiz_table(score))
        console.print(f"{score.right} of {score.asked} right; the monitor {score.monitor.total()} of {score.asked}")


def _play_round(
    question: "AskedBeat", heading: str, score: "QuizScore", console: "Console", glyphs: "GlyphSet"
) -> bool:
    """Show a beat, take the answer, and say what it is. Return False where the user wants no more."""
    from rich.segment import Segment, Segments

    from agent.dashboard.quiz_trace import quiz_trace_lines
    from model.text import format_clock

    console.print(f"\n{heading}, {format_clock(question.time_s, hour_digits=0)}", markup=False)
    for line in quiz_trace_lines(question.wave, question.marked, (console.width - 1, TRACE_LINES), glyphs):
        console.print(Segments([*line, Segment.line()]), soft_wrap=True, end="")
    for answer in _read_answers():
        if answer == "X":
            return False
        if answer not in ("N", "S", "V", "F", "Q"):
            console.print("answer with one of the letters N S V F Q, or x to end", markup=False)
            continue
        word = "right" if score.add(question, answer) else "wrong"
        console.print(f"{word}: you {answer}", markup=False)
        console.print(f"  reference  {question.reference_text}", markup=False)
        console.print(f"  monitor    {question.verdict_text}", markup=False)
        right = score.monitor.total()
        console.print(f"  score      {score.right} of {score.asked}, monitor {right} of {score.asked}", markup=False)
        return True
    return False


def _read_answers() -> Iterator[str]:
    """Yield what is typed, line by line, in capitals; nothing after the end of the input."""
    while True:
        typer.echo(QUESTION, nl=False)
        line = sys.stdin.readline()
        if not line:
            typer.echo()
            return
        if not sys.stdin.isatty():
            typer.echo(line.strip())  # as it would look in a terminal
        yield line.strip().upper()


def build_quiz_table(score: "QuizScore") -> "Table":
    """Build the table of answers by class of the reference: what was confused with what."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    from model.records.wfdb_records import CLASSES

    table = Table("reference", box=SIMPLE_HEAD)
    for label in CLASSES:
        table.add_column(f"you {label}", justify="right")
    table.add_column("right", justify="right")
    table.add_column("monitor right", justify="right")
    for label in CLASSES:
        counts = [score.answers[label, answer] for answer in CLASSES]
        if total := sum(counts):
            cells = [str(count) if count else "·" for count in counts]
            right = f"{score.answers[label, label]} of {total}"
            table.add_row(label, *cells, right, f"{score.monitor[label]} of {total}")
    return table
