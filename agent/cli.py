"""The command line: options in, parts wired together, errors out as one line and an exit code.

What a command needs is imported by the command: `--help` stays quick.
"""

import os
import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from agent import config as configuration
from agent.config import Config
from model.errors import ConfigError, EcgError

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)
simulate_app = typer.Typer(help="Replay records as a bedside device would send them.", no_args_is_help=True)
config_app = typer.Typer(help="Show the settings.", no_args_is_help=True)
keys_app = typer.Typer(help="Keys for encryption and authentication.", no_args_is_help=True)
app.add_typer(simulate_app, name="simulate")
app.add_typer(keys_app, name="keys")
app.add_typer(config_app, name="config")

ConfigFile = Annotated[Path | None, typer.Option("--config", help="TOML file whose keys replace those of config.toml.")]
Endpoint = Annotated[str | None, typer.Option(help="ZeroMQ endpoint, such as tcp://127.0.0.1:5555.")]
Device = Annotated[str | None, typer.Option(help="auto, mps, cuda or cpu.")]
Weights = Annotated[str | None, typer.Option(help="Shipped weights by name, or a .safetensors file.")]
Lead = Annotated[str | None, typer.Option(help="Lead to analyse; auto: MLII, then II, then the first.")]
Json = Annotated[bool, typer.Option("--json", help="A JSON object a line instead of the dashboard.")]
Seconds = Annotated[float | None, typer.Option(help="End after so many seconds.", min=0.0)]
Svg = Annotated[Path | None, typer.Option(help="At the end write a picture of the dashboard here.")]
Key = Annotated[str | None, typer.Option(help="File of our secret key (ecg-agent keys new): encrypt and authenticate.")]
ServerKey = Annotated[str | None, typer.Option(help="File of the device's public key: listen to no other device.")]
Clients = Annotated[str | None, typer.Option(help="Folder of the public keys of the monitors that are let in.")]
Insecure = Annotated[
    bool | None,
    typer.Option("--insecure", help="Use addresses beyond this machine without keys: all may read and forge."),
]
Speed = Annotated[str, typer.Option(help="Times real time, or max for as fast as it is read.")]
Start = Annotated[float, typer.Option(help="Seconds into the record to start at.")]
Duration = Annotated[float | None, typer.Option(help="Seconds to replay; the whole record if left out.")]
Loop = Annotated[bool, typer.Option("--loop", help="Begin anew at the end of the record.")]
NoiseKind = Annotated[str | None, typer.Option("--noise", help="Add noise: ma (muscle) or bw (baseline wander).")]
Snr = Annotated[float | None, typer.Option(help="Signal-to-noise ratio of the noise, in dB.")]
NoiseSeed = Annotated[int | None, typer.Option("--seed", help="Which stretch of the noise is taken.")]
PacketMs = Annotated[float | None, typer.Option(help="Milliseconds of signal in a packet.")]
Wait = Annotated[bool, typer.Option("--wait", help="Hold the first sample until somebody listens.")]
Out = Annotated[Path | None, typer.Option(help="File to write, NAME.onnx or NAME.int8.onnx if left out.")]
Child = Annotated[bool, typer.Option("--child", hidden=True, help="End with the process that started this one.")]


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"ecg-agent {version('ecg-agent')}")
        raise typer.Exit


@app.callback()
def common(
    version: Annotated[  # handled by its callback
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Streaming edge monitor for ECG. A research tool, not a medical device."""


@app.command()
def monitor(
    bed: Annotated[list[str] | None, typer.Option(help="Bed to watch, may be repeated; all if left out.")] = None,
    endpoint: Endpoint = None,
    weights: Weights = None,
    device: Device = None,
    lead: Lead = None,
    json: Json = False,
    seconds: Seconds = None,
    until_end: Annotated[bool, typer.Option("--until-end", help="End when the run of every bed has ended.")] = False,
    record: Annotated[
        Path | None, typer.Option(help="Folder to record signal, beats and events in; one that is there goes on.")
    ] = None,
    svg: Svg = None,
    key: Key = None,
    server_key: ServerKey = None,
    insecure: Insecure = None,
    config: ConfigFile = None,
) -> None:
    """Watch beds: find and classify every beat of a stream, live."""
    settings = configuration.override(configuration.load(config), "link", endpoint=endpoint)
    settings = configuration.override(settings, "security", key=key, server_key=server_key, insecure=insecure)
    settings = configuration.override(settings, "monitor", weights=weights, device=device, lead=lead)
    from agent.commands import Watch, watch

    watch(settings, Watch(tuple(bed or ()), json, seconds, until_end, svg, record))


@app.command()
def demo(
    record: Annotated[str, typer.Option(help="Record to replay: embedded name or path.")] = "208",
    start: Start = 0.0,
    json: Json = False,
    seconds: Seconds = None,
    weights: Weights = None,
    device: Device = None,
    svg: Svg = None,
    config: ConfigFile = None,
) -> None:
    """Simulator and monitor together, on an embedded record."""
    settings = configuration.override(configuration.load(config), "monitor", weights=weights, device=device)
    from agent.commands import Watch, demonstrate

    demonstrate(settings, Watch((), json, seconds, False, svg, None), "record", record, "--start", str(start), "--loop")


@simulate_app.command("record")
def simulate_record(
    record: Annotated[str, typer.Argument(help="Embedded record, such as 100, or path of a WFDB header or recording.")],
    speed: Speed = "1",
    start: Start = 0.0,
    duration: Duration = None,
    loop: Loop = False,
    bed: Annotated[str | None, typer.Option(help="Name of the bed; the record's if left out.")] = None,
    endpoint: Endpoint = None,
    noise: NoiseKind = None,
    snr: Snr = None,
    seed: NoiseSeed = None,
    packet_ms: PacketMs = None,
    wait: Wait = False,
    child: Child = False,
    key: Key = None,
    clients: Clients = None,
    insecure: Insecure = None,
    config: ConfigFile = None,
) -> None:
    """Replay one record, all leads, at 125 Hz; or a recording, as it was sent."""
    of_device = {"endpoint": endpoint, "key": key, "clients": clients, "insecure": insecure}
    settings = _simulate_settings(config, **of_device, snr_db=snr, noise_seed=seed, packet_ms=packet_ms)
    from agent.commands import play
    from simulator.replay import Plan
    from simulator.ward import Pace, bed_names

    name = bed if bed is not None else bed_names([record])[0]
    of = settings.simulate
    plan = Plan(record, name, start, duration, loop, noise, of.snr_db, of.noise_seed)
    play(settings, [plan], Pace(_speed(speed), wait), os.getppid() if child else None)


@simulate_app.command("ward")
def simulate_ward(
    records: Annotated[list[str] | None, typer.Argument(help="A record for each bed, such as 100 208 119.")] = None,
    beds: Annotated[int | None, typer.Option(help="So many beds, the embedded records in turn.")] = None,
    speed: Speed = "1",
    start: Start = 0.0,
    duration: Duration = None,
    loop: Loop = False,
    endpoint: Endpoint = None,
    noise: NoiseKind = None,
    snr: Snr = None,
    seed: NoiseSeed = None,
    packet_ms: PacketMs = None,
    wait: Wait = False,
    child: Child = False,
    key: Key = None,
    clients: Clients = None,
    insecure: Insecure = None,
    config: ConfigFile = None,
) -> None:
    """Replay several records at once, a bed each."""
    of_device = {"endpoint": endpoint, "key": key, "clients": clients, "insecure": insecure}
    settings = _simulate_settings(config, **of_device, snr_db=snr, noise_seed=seed, packet_ms=packet_ms)
    from dataclasses import replace

    from agent.commands import play
    from simulator.replay import Plan
    from simulator.ward import Pace, bed_names, spread

    if bool(records) == (beds is not None):
        raise ConfigError("say either which records (ecg-agent simulate ward 100 208 119) or how many --beds, not both")
    of = settings.simulate
    base = Plan("", "", start, duration, loop, noise, of.snr_db, of.noise_seed)
    if records:
        names = bed_names(records)
        plans = [replace(base, record=record, bed=bed) for record, bed in zip(records, names, strict=True)]
    else:
        plans = spread(beds or 0, base)
    play(settings, plans, Pace(_speed(speed), wait), os.getppid() if child else None)


@simulate_app.command("list")
def simulate_list() -> None:
    """The embedded records: leads, length, beats of each class, remarks."""
    from rich.console import Console

    from simulator.catalog import entries, table

    width = None if sys.stdout.isatty() else 240
    Console(width=width).print(table(entries()))


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
    device: Device = None,
    config: ConfigFile = None,
) -> None:
    """Train the net on the beats of the embedded records."""
    settings = configuration.load(config)
    settings = configuration.override(settings, "train", recipe=recipe, protocol=protocol, seed=seed, device=device)
    settings = configuration.override(settings, f"recipe.{settings.train.recipe}", epochs=epochs)
    from agent.training import Order, show_training

    of = settings.train
    name = name or of.recipe + ("" if of.protocol == "random" else f"-{of.protocol}")
    command = shlex.join(["ecg-agent", *sys.argv[1:]])
    show_training(settings, Order(run or Path("runs") / name, name, command, fold, tensorboard))


@app.command("train-live")
def train_live(
    run: Annotated[Path | None, typer.Option(help="Folder of the run, runs/NAME if left out.")] = None,
    name: Annotated[str, typer.Option(help="Name of the checkpoint.")] = "live",
    seed: Annotated[int | None, typer.Option(help="Seed of the views of the records, weights and order.")] = None,
    fold: Annotated[int | None, typer.Option(help="Test on this fifth of DS1 instead of DS2.", min=0, max=4)] = None,
    device: Device = None,
    config: ConfigFile = None,
) -> None:
    """Train the live monitor's net on what its own stages see of the records of DS1."""
    settings = configuration.override(configuration.load(config), "train", seed=seed, device=device)
    from agent.live_training import show_live_training

    command = shlex.join(["ecg-agent", *sys.argv[1:]])
    show_live_training(settings.train, run or Path("runs") / name, name, command, fold)


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
    weights: Weights = None,
    device: Device = None,
    lead: Lead = None,
    config: ConfigFile = None,
) -> None:
    """Run the pipeline over whole records and score its beats by EC57."""
    settings = configuration.override(configuration.load(config), "monitor", weights=weights, device=device, lead=lead)
    from agent.evaluate import Asked
    from agent.evaluation_report import show_evaluation

    out = out or Path("runs") / f"evaluation-{folder.resolve().name if folder else subset}"
    of = (folder, subset, score_only, reference, annotator, out, start, end, window, mismatches, jobs)
    show_evaluation(settings, Asked(*of), json, html)


@app.command()
def transfer(
    data: Annotated[Path, typer.Argument(help="A .npz of PTB-XL, or the folder of the PTB Diagnostic ECG Database.")],
    weights: Annotated[str, typer.Option(help="Shipped weights by name, or a .safetensors file.")] = "best",
    json: Annotated[bool, typer.Option("--json", help="A JSON object instead of tables.")] = False,
    run: Annotated[Path, typer.Option(help="Folder for figures, curves and the trained head.")] = Path("runs/transfer"),
) -> None:
    """Tell infarction from normal by what was learnt on arrhythmia, beside two rivals."""
    from agent.transfer import show_transfer

    show_transfer(data, weights, run, json, shlex.join(["ecg-agent", *sys.argv[1:]]))


@app.command()
def models(
    json: Annotated[bool, typer.Option("--json", help="A JSON object a line instead of the table.")] = False,
    config: ConfigFile = None,
) -> None:
    """The weights that come with ecg-agent: recipe, protocol, size, figures."""
    from agent.models import show_models

    show_models(configuration.load(config).monitor.weights, json)


@app.command()
def export(
    weights: Weights = None,
    out: Out = None,
    int8: Annotated[
        bool, typer.Option("--int8", help="In integers of eight bits: smaller, faster, less exact.")
    ] = False,
    config: ConfigFile = None,
) -> None:
    """Write weights as ONNX, checked against PyTorch on the test beats."""
    settings = configuration.override(configuration.load(config), "monitor", weights=weights)
    from agent.models import show_export

    show_export(settings.monitor.weights, out, int8)


@keys_app.command("new")
def keys_new(
    name: Annotated[str, typer.Argument(help="Whose keys they are, such as bed-7 or ward-monitor.")],
    folder: Annotated[Path, typer.Option(help="Where they are written.")] = Path("keys"),
) -> None:
    """Make a pair of keys: NAME.key to give away, NAME.key_secret to keep."""
    from agent.security import new_keys

    public, secret = new_keys(folder, name)
    typer.echo(f"{public}: give it to the other side\n{secret}: keep it, only its owner can read it")


@app.command()
def sessions(
    folder: Annotated[Path, typer.Argument(help="A recording, or a folder of recordings.")] = Path("recordings"),
    json: Annotated[bool, typer.Option("--json", help="A JSON object a line instead of the table.")] = False,
) -> None:
    """The recordings that monitor --record made: beds, length, beats, gaps."""
    from agent.recording.convert import show_sessions

    show_sessions(folder, json)


@app.command()
def convert(
    recording: Annotated[
        Path, typer.Argument(help="A recording, the folder of a bed in it, or one WFDB record of it.")
    ],
    out: Annotated[Path, typer.Argument(help="File to write: .edf (EDF+), .csv or .jsonl.")],
) -> None:
    """Write a recording as EDF+, CSV or JSON lines."""
    from agent.recording.convert import convert as write

    write(recording, out)


@config_app.command("show")
def config_show(config: ConfigFile = None) -> None:
    """Print the settings in force, as TOML."""
    typer.echo(configuration.to_toml(configuration.load(config)), nl=False)


def _simulate_settings(config: Path | None, **options: Any) -> Config:
    """The settings with the options of `simulate` that were given."""
    sections = {"endpoint": "link", "key": "security", "clients": "security", "insecure": "security"}
    settings = configuration.load(config)
    for name, value in options.items():
        settings = configuration.override(settings, sections.get(name, "simulate"), **{name: value})
    return settings


def _speed(text: str) -> float | None:
    """Times real time; None for max."""
    if text == "max":
        return None
    try:
        return float(text)
    except ValueError:
        raise ConfigError(f'speed {text!r} makes no sense: give a number above 0, or "max"') from None


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
