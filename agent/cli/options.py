"""Options that several commands have in common, as Typer declares them, and what follows from them."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from agent.cli.completion import LEAD_NAMES, SET_NAMES, complete_from, complete_record, complete_weights
from agent.core.config import Config, load_config, override_config
from agent.link.bed_part import MOST_PARTS
from model.errors import ConfigError

USUAL_RECORD = "208"
"""The record of `demo` and `quiz` where none is named: it has beats of most kinds."""

LONGEST_BY_NAME = 64
"""Characters of the name of who acts on a fleet, as its store keeps it."""

ConfigFileOption = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", help="Read settings that replace those of config.toml.")
]
EndpointOption = Annotated[
    str | None, typer.Option(metavar="ADDRESS", help="ZeroMQ endpoint, such as tcp://127.0.0.1:5555.")
]
DeviceOption = Annotated[
    str | None,
    typer.Option(
        metavar="DEVICE",
        help="Run the net on auto, mps, cuda or cpu.",
        autocompletion=complete_from("auto", "mps", "cuda", "cpu"),
    ),
]
WeightsOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME|FILE",
        help="Use shipped weights by name, or a .safetensors file.",
        autocompletion=complete_weights,
    ),
]
LeadOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAMES",
        help="Analyse these leads, with commas between them; auto takes two: MLII, II or the first, and the next one.",
        autocompletion=complete_from(*LEAD_NAMES),
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object per line.")]
SetOption = Annotated[
    str,
    typer.Option(
        "--set",
        metavar="NAME",
        help="Records to evaluate: all, ds1, ds2 or unpaced (without 102, 104, 107, 217).",
        autocompletion=complete_from(*SET_NAMES),
    ),
]
FalseWeightOption = Annotated[
    float,
    typer.Option(metavar="NUMBER", help="Weight of false bedside alarms, with --alarms.", min=0.001, max=1000.0),
]
SecondsOption = Annotated[float | None, typer.Option(metavar="SECONDS", help="Stop after this time.", min=0.0)]
SvgOption = Annotated[
    Path | None, typer.Option(metavar="FILE.svg", help="Write a picture of the dashboard at the end.")
]
KeyOption = Annotated[
    str | None,
    typer.Option(metavar="FILE", help="Encrypt and authenticate with this secret key (ecg-agent keys new)."),
]
ServerKeyOption = Annotated[
    str | None, typer.Option(metavar="FILE", help="Accept only the device with this public key.")
]
ClientsOption = Annotated[
    str | None, typer.Option(metavar="FOLDER", help="Accept only monitors whose public keys are in this folder.")
]
InsecureOption = Annotated[
    bool | None,
    typer.Option("--insecure", help="Allow remote addresses without keys: anyone there can read and forge the stream."),
]
StartOption = Annotated[float, typer.Option(metavar="SECONDS", help="Start this far into the record.")]
AtOption = Annotated[
    str | None,
    typer.Option(
        metavar="PLACE",
        help="Start at a time such as 5:30, or just before the first episode of a rhythm (AF) or beat of a kind (V).",
    ),
]
FromOption = Annotated[
    str | None,
    typer.Option(
        "--from",
        metavar="SOURCE",
        help="Watch this sensor, stream or file, no device beside it: polar, serial:PORT, lsl:NAME, -, night.csv.",
    ),
]
TruthOption = Annotated[
    bool,
    typer.Option("--truth", help="Show the record's reference annotations below the verdicts, and a running score."),
]
SeedOption = Annotated[
    int | None, typer.Option(metavar="NUMBER", help="Seed of the initial weights and the order of the beats.")
]
SweepOption = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Try many settings, as this file says, on folds of the training side."),
]
SweepJobsOption = Annotated[
    int | None,
    typer.Option(
        metavar="NUMBER",
        help="Trainings at once, with --sweep.",
        min=1,
        max=256,
        show_default="1, with --cluster one for each CPU",
    ),
]
SweepClusterOption = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS",
        help="Train on a Ray cluster, with --sweep: at HOST:PORT, auto for that of this machine, or one started here.",
        show_default=False,
        autocompletion=complete_from("auto", "local"),
    ),
]
AlarmsOption = Annotated[
    bool, typer.Option("--alarms", help="Score the alarms instead of the beats, by rhythm and episode.")
]
StandardOption = Annotated[
    bool, typer.Option("--standard", help="Measure the lines of IEC 60601-2-27 with made signals, no records.")
]
RecordOption = Annotated[
    Path | None,
    typer.Option(metavar="FOLDER", help="Record signal, beats and events here; continue an earlier recording."),
]
MetricsOption = Annotated[
    str | None,
    typer.Option(metavar="PORT", help="Serve metrics for Prometheus at this port or HOST:PORT, such as :9100."),
]
TableOption = Annotated[
    Literal["beats", "alarms"] | None,
    typer.Option(metavar="NAME", help="Write this table instead of the signal: beats or alarms, each a row."),
]
NotifyOption = Annotated[
    list[str] | None,
    typer.Option(metavar="URL", help="Tell alarms to this URL of Apprise, or to those in @FILE; repeat for more."),
]
NotifyFromOption = Annotated[
    str | None,
    typer.Option(
        metavar="PRIORITY",
        help="Tell alarms of this priority and above: high, medium or low.",
        autocompletion=complete_from("high", "medium", "low"),
    ),
]
PublishOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="ADDRESS",
        help="Publish results to mqtt://HOST, mqtts://HOST, lsl, a store of a fleet, or those in @FILE; repeat for "
        "more.",
    ),
]
ReplicaOption = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Name this monitor in the store of a fleet.", show_default="host and process"),
]
WorkersOption = Annotated[
    int,
    typer.Option(
        metavar="NUMBER", help="Share the beds between so many processes, which print lines.", min=1, max=MOST_PARTS
    ),
]
PartOption = Annotated[
    str | None,
    typer.Option(
        metavar="PART",
        help="Watch one part of the beds, by their names: 1/2 is the first of two.",
        show_default="all of them",
    ),
]
WebOption = Annotated[
    str | None,
    typer.Option(metavar="PORT", help="Show the ward to browsers at this port or HOST:PORT, such as :8080."),
]
WebTokenOption = Annotated[
    str | None,
    typer.Option(metavar="FILE", help="Ask browsers for the token in this file; who knows it may acknowledge alarms."),
]
STORE_HELP = "The store: store:FILE, postgresql://…, store://HOST:PORT, or the one in @FILE."
StoreArgument = Annotated[str, typer.Argument(metavar="STORE", help=STORE_HELP)]
JobsOption = Annotated[
    int | None,
    typer.Option(
        metavar="NUMBER", help="Processes to use.", min=1, max=256, show_default="1, with --cluster one for each CPU"
    ),
]
ClusterOption = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS",
        help="Use a Ray cluster: at HOST:PORT, auto for the one of this machine, or one started here for this command.",
        show_default=False,
        autocompletion=complete_from("auto", "local"),
    ),
]
ChildOption = Annotated[bool, typer.Option("--child", hidden=True, help="Stop with the parent process.")]
FileRateOption = Annotated[
    float | None, typer.Option("--fs", metavar="HZ", help="Sampling rate of files that do not say theirs.")
]
FileUnitOption = Annotated[
    str | None,
    typer.Option(
        "--unit",
        metavar="UNIT",
        help='Unit of files that do not say theirs: uV, mV, V, nV, the size of a count such as "2.9uV", or counts.',
        autocompletion=complete_from("uV", "mV", "V", "nV", "counts"),
    ),
]


def usual_record_argument(otherwise: str) -> Any:
    """Return the argument RECORD of a command that has a usual one; `otherwise`: what is taken in place of it."""
    return typer.Argument(
        metavar="RECORD",
        help="Embedded record, or path of a WFDB header.",
        autocompletion=complete_record,
        show_default=f"{USUAL_RECORD}, or {otherwise}",
    )


def load_net_config(config: Path | None, weights: str | None, device: str | None, lead: str | None) -> Config:
    """Return the settings with the options of whatever runs the net over leads. Raises ConfigError."""
    return override_config(load_config(config), "monitor", weights=weights, device=device, lead=lead)


def serve_web(settings: Config, address: str | None, token: str | None) -> Config:
    """Return the settings with the options of the page in a browser. Raises ConfigError for a token without a page."""
    settings = override_config(settings, "web", address=address, token=token)
    if token is not None and not settings.web.address:
        raise ConfigError("--web-token lets people act from a page: serve one with --web")
    return settings


def check_by_name(by: str) -> str:
    """Return the name of who acts on a fleet, without spaces around it. Raises ConfigError for what nobody can read."""
    name = by.strip()
    if not name.isprintable() or not 1 <= len(name) <= LONGEST_BY_NAME:
        raise ConfigError(f"say who acts in 1 to {LONGEST_BY_NAME} printable characters: --by NAME")
    return name
