"""The command line: options in, parts wired together, errors out as one line and an exit code.

Each command imports what it needs itself, so that `--help` stays quick.
"""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from agent.cli import analyse, bridge, check, demo, fleet, fleet_run, fleet_watch, quiz, simulate, training
from agent.cli.help_format import build_command
from agent.cli.options import (
    AlarmsOption,
    ClusterOption,
    ConfigFileOption,
    DeviceOption,
    EndpointOption,
    FalseWeightOption,
    FromOption,
    InsecureOption,
    JobsOption,
    JsonOption,
    KeyOption,
    LeadOption,
    MetricsOption,
    NotifyFromOption,
    NotifyOption,
    PartOption,
    PublishOption,
    RecordOption,
    ReplicaOption,
    SecondsOption,
    ServerKeyOption,
    SetOption,
    StandardOption,
    SvgOption,
    TableOption,
    TruthOption,
    WebOption,
    WebTokenOption,
    WeightsOption,
    WorkersOption,
    load_net_config,
    serve_web,
)
from agent.cli.work_place import choose_work_place, complete_cluster_option
from agent.core import config as configuration
from agent.dashboard.key_table import keys_sentence
from agent.link.bed_part import WHOLE_WARD, BedPart
from model.errors import EcgError

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)
config_app = typer.Typer(help="Show the settings.", no_args_is_help=True)
keys_app = typer.Typer(help="Make keys for encryption and authentication.", no_args_is_help=True)
app.add_typer(simulate.app, name="simulate")
app.add_typer(keys_app, name="keys")
app.add_typer(config_app, name="config")
app.add_typer(fleet.app, name="fleet")
fleet.app.command("watch", epilog=keys_sentence())(fleet_watch.watch_fleet)
fleet.app.command("run")(fleet_run.run_fleet_here)
fleet.app.command("drain")(fleet_run.drain_fleet_host)
fleet.app.command("end")(fleet_run.end_running_fleet)


def _print_version(requested: bool) -> None:
    if requested:
        from importlib.metadata import version

        typer.echo(f"ecg-agent {version('ecg-agent')}")
        raise typer.Exit


@app.callback()
def common_options(
    version: Annotated[  # handled by its callback
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Monitor ECG streams on the edge. A research tool, not a medical device."""


@app.command("monitor", epilog=keys_sentence())
def watch_beds(
    bed: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Watch this bed; repeat for several.", show_default="all")
    ] = None,
    endpoint: EndpointOption = None,
    weights: WeightsOption = None,
    device: DeviceOption = None,
    lead: LeadOption = None,
    json: JsonOption = False,
    seconds: SecondsOption = None,
    until_end: Annotated[
        bool, typer.Option("--until-end", help="Stop when every run has ended, or the device is gone for a minute.")
    ] = False,
    record: RecordOption = None,
    metrics: MetricsOption = None,
    notify: NotifyOption = None,
    notify_from: NotifyFromOption = None,
    publish: PublishOption = None,
    replica: ReplicaOption = None,
    web: WebOption = None,
    web_token: WebTokenOption = None,
    svg: SvgOption = None,
    workers: WorkersOption = 1,
    part: PartOption = None,
    key: KeyOption = None,
    server_key: ServerKeyOption = None,
    insecure: InsecureOption = None,
    source: FromOption = None,
    fs: bridge.SourceRateOption = None,
    unit: bridge.SourceUnitOption = None,
    columns: bridge.ColumnsOption = None,
    names: bridge.NamesOption = None,
    baud: bridge.BaudOption = bridge.DEFAULT_BAUD,
    frames: bridge.FramesOption = "",
    truth: TruthOption = False,
    config: ConfigFileOption = None,
) -> None:
    """Watch beds live: find and classify every beat, raise alarms.

    On the dashboard, S331(80%) means 331 beats S, of which kind the net found 80 of 100 in its tests.
    """
    settings = configuration.override_config(configuration.load_config(config), "link", endpoint=endpoint)
    settings = configuration.override_config(settings, "security", key=key, server_key=server_key, insecure=insecure)
    settings = configuration.override_config(
        settings, "monitor", weights=weights, device=device, lead=lead, metrics=metrics
    )
    settings = configuration.override_config(settings, "notify", priority=notify_from)
    settings = serve_web(settings, web, web_token)
    from agent.cli.monitor import MonitorOptions, start_monitor

    outputs = tuple(notify or ()), tuple(publish or ()), bridge.open_truth(source, fs, unit) if truth else None
    watched = tuple(bed or ()), json, seconds, until_end, svg, record, *outputs
    options = MonitorOptions(*watched, replica=replica, part=WHOLE_WARD if part is None else BedPart.read(part))
    arguments = bridge.BridgeArguments(source or "", bed[0] if bed else None, fs, unit, columns, names, baud, frames)
    if source is None:
        bridge.reject_source_arguments(arguments)
    else:
        bridge.check_source_arguments(bed, endpoint)
    start_monitor(settings, options, None if source is None else arguments, workers)


app.command("demo", epilog=keys_sentence())(demo.play_demo)
app.command("quiz")(quiz.ask_beats)
app.command("bridge")(bridge.bridge_source)
app.command("check", epilog=check.CHECK_EPILOG)(check.check_source)
app.command("analyse", epilog=analyse.ANALYSE_EPILOG)(analyse.analyse_recordings)
app.command("train")(training.start_training)
app.command("train-live")(training.start_live_training)


@app.command("evaluate")
def evaluate_records(
    folder: Annotated[
        Path | None,
        typer.Argument(
            metavar="FOLDER", help="Folder of WFDB records or annotation files.", show_default="the embedded records"
        ),
    ] = None,
    subset: SetOption = "all",
    score_only: Annotated[
        bool, typer.Option("--score-only", help="Score annotation files of another program; analyse nothing.")
    ] = False,
    reference: Annotated[
        str, typer.Option(metavar="EXTENSION", help="Extension of the reference annotations.")
    ] = "atr",
    annotator: Annotated[
        str, typer.Option(metavar="EXTENSION", help="Extension of the annotations to write or score.")
    ] = "ecg",
    out: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Write the results here.", show_default="runs/evaluation-NAME")
    ] = None,
    start: Annotated[float, typer.Option(metavar="SECONDS", help="Ignore the start of each record.")] = 300.0,
    end: Annotated[float | None, typer.Option(metavar="SECONDS", help="Ignore what comes after this time.")] = None,
    window: Annotated[float, typer.Option(metavar="SECONDS", help="Largest distance of a matching beat.")] = 0.15,
    mismatches: Annotated[bool, typer.Option("--mismatches", help="List each wrong beat with its signal.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the report as JSON instead of tables.")] = False,
    html: Annotated[bool, typer.Option("--html", help="Write report.html with pictures, too.")] = False,
    jobs: JobsOption = None,
    cluster: ClusterOption = None,
    alarms: AlarmsOption = False,
    false_weight: FalseWeightOption = 1.0,
    standard: StandardOption = False,
    weights: WeightsOption = None,
    device: DeviceOption = None,
    lead: LeadOption = None,
    config: ConfigFileOption = None,
) -> None:
    """Run the pipeline over whole records and score its beats or alarms by EC57."""
    settings = load_net_config(config, weights, device, lead)
    from agent.evaluation.evaluate_command import show_alarm_evaluation, show_evaluation, show_standard
    from agent.evaluation.record_selection import EvaluationOptions

    if standard:
        show_standard(settings, json, (folder, out, subset != "all", score_only, mismatches, html, alarms, lead))
        return
    out = out or Path("runs") / f"{'alarms' if alarms else 'evaluation'}-{folder.resolve().name if folder else subset}"
    options = EvaluationOptions(
        *(folder, subset, score_only, reference, annotator, out, start, end, window, mismatches),
        choose_work_place(jobs, cluster),
        false_weight,
    )
    if alarms:
        show_alarm_evaluation(settings, options, json)
    else:
        show_evaluation(settings, options, json, html)


app.command("transfer")(training.compare_transfer)


@app.command("models")
def list_weights(json: JsonOption = False, config: ConfigFileOption = None) -> None:
    """List the weights that come with ecg-agent: recipe, protocol, size, scores."""
    from agent.cli.models import show_models

    show_models(configuration.load_config(config).monitor.weights, json)


@app.command("export")
def export_weights(
    weights: WeightsOption = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE.onnx", help="File to write.", show_default="NAME.onnx or NAME.int8.onnx"),
    ] = None,
    int8: Annotated[
        bool, typer.Option("--int8", help="Quantise to 8-bit integers: smaller and faster, but less accurate.")
    ] = False,
    config: ConfigFileOption = None,
) -> None:
    """Write weights as ONNX, the live monitor's net too, compared with PyTorch on all of their test side."""
    settings = configuration.override_config(configuration.load_config(config), "monitor", weights=weights)
    from agent.cli.models import show_export

    show_export(settings.monitor.weights, settings.signal, out, int8)


@keys_app.command("new")
def create_keys(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Owner of the keys, such as bed-7 or ward-monitor.")],
    folder: Annotated[Path, typer.Option(metavar="FOLDER", help="Write the keys here.")] = Path("keys"),
) -> None:
    """Make a pair of keys: NAME.key to give away, NAME.key_secret to keep."""
    from agent.wire.curve_security import create_key_pair

    public, secret = create_key_pair(folder, name)
    typer.echo(f"{public}: give it to the other side\n{secret}: keep it, only its owner can read it")


@app.command("sessions")
def list_sessions(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A recording, or a folder of recordings.")] = Path(
        "recordings"
    ),
    json: JsonOption = False,
) -> None:
    """List the recordings that monitor --record made: beds, length, beats, gaps."""
    from agent.export.convert import show_sessions

    show_sessions(folder, json)


@app.command("report")
def write_recording_reports(
    recordings: Annotated[
        list[Path],
        typer.Argument(metavar="RECORDING", help="Recordings that monitor --record made, or folders of them."),
    ],
    bed: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Report only this bed; repeat for several.", show_default="all"),
    ] = None,
    compare: Annotated[
        Path | None, typer.Option(metavar="RECORDING", help="Compare the recording with this one instead.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE.html", help="Write this; of several, the index.", show_default="NAME-report.html"),
    ] = None,
    pdf: Annotated[bool, typer.Option(help="Write the report as PDF, too.")] = True,
    config: ConfigFileOption = None,
) -> None:
    """Write reports of recordings as HTML and PDF: findings in words, rates, beats, a strip of every alarm."""
    from agent.report import command

    options = command.ReportOptions(tuple(bed or ()), out, pdf, compare)
    command.report_recordings(recordings, configuration.load_config(config), options)


@app.command("convert")
def convert_to_file(
    recording: Annotated[
        Path,
        typer.Argument(metavar="RECORDING", help="A recording, the folder of a bed in it, or one WFDB record of it."),
    ],
    out: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="File to write: .edf (EDF+), .csv, .jsonl; of a table .csv, .parquet."),
    ],
    table: TableOption = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite a file that exists.")] = False,
) -> None:
    """Write a recording as EDF+, CSV or JSON lines, or its beats or alarms as a table."""
    from agent.export.convert import convert_recording

    convert_recording(recording, out, force, table)


@config_app.command("show")
def show_config(config: ConfigFileOption = None) -> None:
    """Print the settings in force, as TOML."""
    typer.echo(configuration.format_config_toml(configuration.load_config(config)), nl=False)


def run_command_line() -> None:
    """Run the command that `sys.argv` names; end with one line and an exit code where it fails."""
    try:
        if sys.stdout is None or sys.stderr is None:
            raise SystemExit(1)  # the parent process closed them: there is nowhere to write a reason
        try:
            arguments = complete_cluster_option(sys.argv[1:])
            build_command(app, arguments)(arguments)
        finally:
            sys.stdout.flush()
    except EcgError as error:
        typer.echo(f"ecg-agent: {error}", err=True)
        raise SystemExit(error.exit_code) from None
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what is still buffered cannot be written either
        typer.echo(f"ecg-agent: cannot continue: {error}", err=True)
        raise SystemExit(1) from None
