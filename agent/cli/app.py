"""The command line: options in, parts wired together, errors out as one line and an exit code.

What a command needs is imported by the command: `--help` stays quick.
"""

import os
import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from agent.cli import simulate
from agent.cli.options import (
    ConfigFileOption,
    DeviceOption,
    EndpointOption,
    InsecureOption,
    JsonOption,
    KeyOption,
    LeadOption,
    OutOption,
    SecondsOption,
    ServerKeyOption,
    StartOption,
    SvgOption,
    WeightsOption,
)
from agent.core import config as configuration
from model.errors import EcgError

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)
config_app = typer.Typer(help="Show the settings.", no_args_is_help=True)
keys_app = typer.Typer(help="Keys for encryption and authentication.", no_args_is_help=True)
app.add_typer(simulate.app, name="simulate")
app.add_typer(keys_app, name="keys")
app.add_typer(config_app, name="config")


def _print_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"ecg-agent {version('ecg-agent')}")
        raise typer.Exit


@app.callback()
def common_options(
    version: Annotated[  # handled by its callback
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Streaming edge monitor for ECG. A research tool, not a medical device."""


@app.command()
def monitor(
    bed: Annotated[list[str] | None, typer.Option(help="Bed to watch, may be repeated; all if left out.")] = None,
    endpoint: EndpointOption = None,
    weights: WeightsOption = None,
    device: DeviceOption = None,
    lead: LeadOption = None,
    json: JsonOption = False,
    seconds: SecondsOption = None,
    until_end: Annotated[bool, typer.Option("--until-end", help="End when the run of every bed has ended.")] = False,
    record: Annotated[
        Path | None, typer.Option(help="Folder to record signal, beats and events in; one that is there goes on.")
    ] = None,
    metrics: Annotated[
        str | None, typer.Option(help="Port, or HOST:PORT, at which Prometheus reads metrics: :9100.")
    ] = None,
    svg: SvgOption = None,
    key: KeyOption = None,
    server_key: ServerKeyOption = None,
    insecure: InsecureOption = None,
    config: ConfigFileOption = None,
) -> None:
    """Watch beds: find and classify every beat of a stream, live."""
    settings = configuration.override_config(configuration.load_config(config), "link", endpoint=endpoint)
    settings = configuration.override_config(settings, "security", key=key, server_key=server_key, insecure=insecure)
    settings = configuration.override_config(
        settings, "monitor", weights=weights, device=device, lead=lead, metrics=metrics
    )
    from agent.cli.monitor import MonitorOptions, run_monitor

    run_monitor(settings, MonitorOptions(tuple(bed or ()), json, seconds, until_end, svg, record))


@app.command()
def demo(
    record: Annotated[str, typer.Option(help="Record to replay: embedded name or path.")] = "208",
    start: StartOption = 0.0,
    json: JsonOption = False,
    seconds: SecondsOption = None,
    weights: WeightsOption = None,
    device: DeviceOption = None,
    svg: SvgOption = None,
    config: ConfigFileOption = None,
) -> None:
    """Simulator and monitor together, on an embedded record."""
    settings = configuration.override_config(
        configuration.load_config(config), "monitor", weights=weights, device=device
    )
    from agent.cli.monitor import MonitorOptions, run_demo

    run_demo(
        settings, MonitorOptions((), json, seconds, False, svg, None), "record", record, "--start", str(start), "--loop"
    )


@app.command()
def train(
    recipe: Annotated[str | None, typer.Option(help="reproduction, best, or one of your config file.")] = None,
    protocol: Annotated[str | None, typer.Option(help="random, or inter-patient (DS1 against DS2).")] = None,
    run: Annotated[
        Path | None, typer.Option(help="Folder of the run, runs/NAME if left out; an interrupted one is continued.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name of the checkpoint.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the training beats.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the initial weights and the order of the beats.")] = None,
    fold: Annotated[
        int | None, typer.Option(help="Test on this fifth of the training side instead.", min=0, max=4)
    ] = None,
    tensorboard: Annotated[bool, typer.Option("--tensorboard", help="Log for TensorBoard in the run folder.")] = False,
    device: DeviceOption = None,
    config: ConfigFileOption = None,
) -> None:
    """Train the net on the beats of the embedded records."""
    settings = configuration.load_config(config)
    settings = configuration.override_config(
        settings, "train", recipe=recipe, protocol=protocol, seed=seed, device=device
    )
    settings = configuration.override_config(settings, f"recipe.{settings.train.recipe}", epochs=epochs)
    from agent.training.report_run import TrainingOptions, show_training

    of = settings.train
    name = name or of.recipe + ("" if of.protocol == "random" else f"-{of.protocol}")
    command = shlex.join(["ecg-agent", *sys.argv[1:]])
    show_training(settings, TrainingOptions(run or Path("runs") / name, name, command, fold, tensorboard))


@app.command("train-live")
def train_live(
    run: Annotated[Path | None, typer.Option(help="Folder of the run, runs/NAME if left out.")] = None,
    name: Annotated[str, typer.Option(help="Name of the checkpoint.")] = "live",
    seed: Annotated[int | None, typer.Option(help="Seed of the views of the records, weights and order.")] = None,
    fold: Annotated[int | None, typer.Option(help="Test on this fifth of DS1 instead of DS2.", min=0, max=4)] = None,
    device: DeviceOption = None,
    config: ConfigFileOption = None,
) -> None:
    """Train the live monitor's net on what its own stages see of the records of DS1."""
    settings = configuration.override_config(configuration.load_config(config), "train", seed=seed, device=device)
    from agent.training.live_run import show_live_training

    command = shlex.join(["ecg-agent", *sys.argv[1:]])
    show_live_training(settings.train, settings.signal, run or Path("runs") / name, name, command, fold)


@app.command()
def evaluate(
    folder: Annotated[
        Path | None, typer.Argument(help="Folder of WFDB records or annotation files; the embedded ones if left out.")
    ] = None,
    subset: Annotated[
        str, typer.Option("--set", help="all, ds1, ds2 or unpaced (without 102, 104, 107, 217).")
    ] = "all",
    score_only: Annotated[
        bool, typer.Option("--score-only", help="Analyse nothing: score the annotation files of others in the folder.")
    ] = False,
    reference: Annotated[str, typer.Option(help="Extension of the reference annotations.")] = "atr",
    annotator: Annotated[str, typer.Option(help="Extension of the annotations that are written, or scored.")] = "ecg",
    out: Annotated[Path | None, typer.Option(help="Folder of the run; runs/evaluation-NAME if left out.")] = None,
    start: Annotated[float, typer.Option(help="Seconds of each record that do not count.")] = 300.0,
    end: Annotated[float | None, typer.Option(help="Second at which the scored part ends; the record's end.")] = None,
    window: Annotated[float, typer.Option(help="Seconds that a beat may lie off.")] = 0.15,
    mismatches: Annotated[bool, typer.Option("--mismatches", help="List each wrong beat with its signal.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the report as JSON instead of tables.")] = False,
    html: Annotated[bool, typer.Option("--html", help="Write report.html, with pictures, too.")] = False,
    jobs: Annotated[int, typer.Option(help="Processes.", min=1, max=256)] = 1,
    alarms: Annotated[bool, typer.Option("--alarms", help="Score the alarms instead, by rhythm and episode.")] = False,
    weights: WeightsOption = None,
    device: DeviceOption = None,
    lead: LeadOption = None,
    config: ConfigFileOption = None,
) -> None:
    """Run the pipeline over whole records and score its beats, or its alarms, by EC57."""
    settings = configuration.override_config(
        configuration.load_config(config), "monitor", weights=weights, device=device, lead=lead
    )
    from agent.evaluation.beat_evaluation import EvaluationOptions
    from agent.evaluation.evaluate_command import show_alarm_evaluation, show_evaluation

    out = out or Path("runs") / f"{'alarms' if alarms else 'evaluation'}-{folder.resolve().name if folder else subset}"
    asked = EvaluationOptions(
        folder, subset, score_only, reference, annotator, out, start, end, window, mismatches, jobs
    )
    if alarms:
        show_alarm_evaluation(settings, asked, json)
    else:
        show_evaluation(settings, asked, json, html)


@app.command()
def transfer(
    data: Annotated[Path, typer.Argument(help="A .npz of PTB-XL, or the folder of the PTB Diagnostic ECG Database.")],
    weights: Annotated[str, typer.Option(help="Shipped weights by name, or a .safetensors file.")] = "best",
    json: Annotated[bool, typer.Option("--json", help="A JSON object instead of tables.")] = False,
    run: Annotated[Path, typer.Option(help="Folder for figures, curves and the trained head.")] = Path("runs/transfer"),
) -> None:
    """Tell infarction from normal by what was learnt on arrhythmia, beside two rivals."""
    from agent.training.transfer_run import show_transfer

    show_transfer(data, weights, run, json, shlex.join(["ecg-agent", *sys.argv[1:]]))


@app.command()
def models(
    json: Annotated[bool, typer.Option("--json", help="A JSON object a line instead of the table.")] = False,
    config: ConfigFileOption = None,
) -> None:
    """The weights that come with ecg-agent: recipe, protocol, size, figures."""
    from agent.cli.models import show_models

    show_models(configuration.load_config(config).monitor.weights, json)


@app.command()
def export(
    weights: WeightsOption = None,
    out: OutOption = None,
    int8: Annotated[
        bool, typer.Option("--int8", help="In integers of eight bits: smaller, faster, less exact.")
    ] = False,
    config: ConfigFileOption = None,
) -> None:
    """Write weights as ONNX, checked against PyTorch on the test beats."""
    settings = configuration.override_config(configuration.load_config(config), "monitor", weights=weights)
    from agent.cli.models import show_export

    show_export(settings.monitor.weights, out, int8)


@keys_app.command("new")
def create_keys(
    name: Annotated[str, typer.Argument(help="Whose keys they are, such as bed-7 or ward-monitor.")],
    folder: Annotated[Path, typer.Option(help="Where they are written.")] = Path("keys"),
) -> None:
    """Make a pair of keys: NAME.key to give away, NAME.key_secret to keep."""
    from agent.wire.curve_security import create_key_pair

    public, secret = create_key_pair(folder, name)
    typer.echo(f"{public}: give it to the other side\n{secret}: keep it, only its owner can read it")


@app.command()
def sessions(
    folder: Annotated[Path, typer.Argument(help="A recording, or a folder of recordings.")] = Path("recordings"),
    json: Annotated[bool, typer.Option("--json", help="A JSON object a line instead of the table.")] = False,
) -> None:
    """The recordings that monitor --record made: beds, length, beats, gaps."""
    from agent.export.convert import show_sessions

    show_sessions(folder, json)


@app.command()
def report(
    recording: Annotated[Path, typer.Argument(help="A recording that monitor --record made.")],
    bed: Annotated[str | None, typer.Option(help="One bed of it; else a report for each, and an index.")] = None,
    out: Annotated[Path | None, typer.Option(help="HTML file to write; NAME-report.html if left out.")] = None,
    pdf: Annotated[bool, typer.Option(help="Write the same as PDF beside it.")] = True,
) -> None:
    """Write a report of a recording: rates, beats, every alarm with its strip, as HTML and PDF."""
    from agent.report.command import write_reports

    write_reports(recording, bed, out, pdf)


@app.command()
def convert(
    recording: Annotated[
        Path, typer.Argument(help="A recording, the folder of a bed in it, or one WFDB record of it.")
    ],
    out: Annotated[Path, typer.Argument(help="File to write: .edf (EDF+), .csv or .jsonl.")],
) -> None:
    """Write a recording as EDF+, CSV or JSON lines."""
    from agent.export.convert import convert_recording as write

    write(recording, out)


@config_app.command("show")
def show_config(config: ConfigFileOption = None) -> None:
    """Print the settings in force, as TOML."""
    typer.echo(configuration.format_config_toml(configuration.load_config(config)), nl=False)


def main() -> None:
    """Entry point of `ecg-agent`."""
    try:
        if sys.stdout is None or sys.stderr is None:
            raise SystemExit(1)  # closed by whoever started us: nobody would hear the reason
        try:
            app()
        finally:
            sys.stdout.flush()
    except EcgError as error:
        typer.echo(f"ecg-agent: {error}", err=True)
        raise SystemExit(error.exit_code) from None
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what is still buffered cannot be written either
        typer.echo(f"ecg-agent: cannot go on: {error}", err=True)
        raise SystemExit(1) from None
