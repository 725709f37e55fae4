"""`ecg-agent simulate`: devices made of software, which replay records."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agent.cli.completion import complete_from, complete_record
from agent.cli.options import (
    AtOption,
    ChildOption,
    ClientsOption,
    ConfigFileOption,
    EndpointOption,
    FileRateOption,
    FileUnitOption,
    InsecureOption,
    KeyOption,
    StartOption,
)
from agent.core import config as configuration
from agent.core.config import Config
from model.errors import ConfigError, StreamError

if TYPE_CHECKING:
    from model.formats.signal_file import SignalFileOptions

MOST_SNR_DB = 100
SEEDS_END = 2**31

app = typer.Typer(help="Replay records as a bedside device would send them.", no_args_is_help=True)

SpeedOption = Annotated[
    str,
    typer.Option(
        metavar="FACTOR",
        help="Times real time, or max for as fast as possible.",
        autocompletion=complete_from("1", "max"),
    ),
]
DurationOption = Annotated[
    float | None,
    typer.Option(
        metavar="SECONDS", help="Replay this much in all, with --loop over all rounds.", show_default="the whole record"
    ),
]
LoopOption = Annotated[
    bool, typer.Option("--loop", help="Restart at the end of the record, for ever without --duration.")
]
NoiseKindOption = Annotated[
    str | None,
    typer.Option(
        "--noise",
        metavar="NAME",
        help="Add noise: ma (muscle) or bw (baseline wander).",
        autocompletion=complete_from("bw", "ma"),
    ),
]
SnrOption = Annotated[float | None, typer.Option(metavar="DB", help="Signal-to-noise ratio of the noise, in dB.")]
NoiseSeedOption = Annotated[
    int | None, typer.Option("--seed", metavar="NUMBER", help="Choose the stretch of the noise record.")
]
RhythmSearchOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="List episodes of a rhythm: AF, AFL, VT, VFL, SVTA, B (bigeminy), T (trigeminy), P (paced), NSR ...",
        autocompletion=complete_from("AF", "AFL", "VT", "VFL", "SVTA", "B", "T", "P", "NSR"),
    ),
]
BeatSearchOption = Annotated[
    str | None,
    typer.Option(metavar="KIND", help="List beats: class V, S, F, Q, a symbol such as L, R, A; VV and VVV for runs."),
]
PacketMsOption = Annotated[float | None, typer.Option(metavar="MS", help="Milliseconds of signal in a packet.")]
WaitOption = Annotated[bool, typer.Option("--wait", help="Send nothing until a monitor subscribes.")]


@app.command("record")
def replay_record(
    record: Annotated[
        str,
        typer.Argument(
            metavar="RECORD",
            help="Embedded record, such as 100, or path of a file (CSV, EDF, WFDB …) or recording.",
            autocompletion=complete_record,
        ),
    ],
    speed: SpeedOption = "1",
    start: StartOption = 0.0,
    at: AtOption = None,
    duration: DurationOption = None,
    loop: LoopOption = False,
    bed: Annotated[
        str | None, typer.Option(metavar="NAME", help="Name the bed.", show_default="the name of the record")
    ] = None,
    endpoint: EndpointOption = None,
    fs: FileRateOption = None,
    unit: FileUnitOption = None,
    noise: NoiseKindOption = None,
    snr: SnrOption = None,
    seed: NoiseSeedOption = None,
    packet_ms: PacketMsOption = None,
    wait: WaitOption = False,
    child: ChildOption = False,
    key: KeyOption = None,
    clients: ClientsOption = None,
    insecure: InsecureOption = None,
    config: ConfigFileOption = None,
) -> None:
    """Replay one record, all leads, at 125 Hz; or a recording, as it was sent."""
    device = {"endpoint": endpoint, "key": key, "clients": clients, "insecure": insecure}
    check_noise(noise, snr, seed)
    settings = _simulate_settings(config, **device, snr_db=snr, noise_seed=seed, packet_ms=packet_ms)
    from agent.cli.replay import replay_beds
    from model.formats.signal_file import SignalFileOptions
    from simulator.record_replay import ReplayPlan
    from simulator.scheduler import PlaybackSpeed, name_beds

    name = bed if bed is not None else name_beds([record])[0]
    simulation = settings.simulate
    stated = SignalFileOptions(fs, unit)
    start = resolve_start(record, start, at, stated)
    plan = ReplayPlan(record, name, start, duration, loop, noise, simulation.snr_db, simulation.noise_seed, stated)
    replay_beds(
        settings,
        [plan],
        simulation.packet_ms,
        PlaybackSpeed(parse_speed(speed), wait),
        os.getppid() if child else None,
    )


@app.command("ward")
def replay_ward(
    records: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="RECORD", help="One record or file per bed, such as 100 208 119.", autocompletion=complete_record
        ),
    ] = None,
    beds: Annotated[
        int | None, typer.Option(metavar="NUMBER", help="Number of beds, which replay the embedded records in turn.")
    ] = None,
    hosts: Annotated[
        int, typer.Option(metavar="NUMBER", help="Spread the beds over so many devices, each with two ports.", min=1)
    ] = 1,
    devices: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write which device has which beds, for ecg-agent fleet run.")
    ] = None,
    speed: SpeedOption = "1",
    start: StartOption = 0.0,
    duration: DurationOption = None,
    loop: LoopOption = False,
    endpoint: EndpointOption = None,
    fs: FileRateOption = None,
    unit: FileUnitOption = None,
    noise: NoiseKindOption = None,
    snr: SnrOption = None,
    seed: NoiseSeedOption = None,
    packet_ms: PacketMsOption = None,
    wait: WaitOption = False,
    child: ChildOption = False,
    key: KeyOption = None,
    clients: ClientsOption = None,
    insecure: InsecureOption = None,
    config: ConfigFileOption = None,
) -> None:
    """Replay several records at once, one per bed."""
    device = {"endpoint": endpoint, "key": key, "clients": clients, "insecure": insecure}
    check_noise(noise, snr, seed)
    settings = _simulate_settings(config, **device, snr_db=snr, noise_seed=seed, ward_packet_ms=packet_ms)
    from dataclasses import replace

    from agent.cli.replay import DeviceLayout, replay_beds
    from model.formats.signal_file import SignalFileOptions
    from simulator.record_replay import ReplayPlan
    from simulator.scheduler import PlaybackSpeed, name_beds, plan_ward

    _check_ward_beds(records, beds)
    simulation = settings.simulate
    stated = SignalFileOptions(fs, unit)
    base = ReplayPlan("", "", start, duration, loop, noise, simulation.snr_db, simulation.noise_seed, stated)
    if records:
        names = name_beds(records)
        plans = [replace(base, record=record, bed=bed) for record, bed in zip(records, names, strict=True)]
    else:
        plans = plan_ward(beds or 0, base)
    pace, layout = PlaybackSpeed(parse_speed(speed), wait), DeviceLayout(hosts, devices)
    replay_beds(settings, plans, simulation.ward_packet_ms, pace, os.getppid() if child else None, layout)


def _check_ward_beds(records: list[str] | None, beds: int | None) -> None:
    """Raise ConfigError unless either records are named or a number of beds is given."""
    if not records and beds is None:
        raise ConfigError(
            "a ward needs beds: say which records (ecg-agent simulate ward 100 208 119) "
            "or how many beds (ecg-agent simulate ward --beds 8)"
        )
    if records and beds is not None:
        raise ConfigError("say either which records (ecg-agent simulate ward 100 208 119) or how many --beds, not both")


@app.command("list")
def list_records(
    rhythm: RhythmSearchOption = None,
    beat: BeatSearchOption = None,
    remark: Annotated[
        str | None, typer.Option(metavar="TEXT", help="List records whose remarks have this, such as pacemaker.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="List all episodes, not only the first 20.")] = False,
) -> None:
    """List the embedded records: leads, length, beats of each class, remarks; or where they have a rhythm or a beat."""
    from agent.cli.tables import print_table
    from simulator.catalog import build_catalog_table, read_catalog
    from simulator.episode_list import (
        LISTED_EPISODES,
        EpisodeSearch,
        build_episode_table,
        rest_text,
        search_episodes,
    )

    if rhythm is None and beat is None and remark is None:
        print_table(build_catalog_table(read_catalog()))
        return
    found = search_episodes(EpisodeSearch(rhythm, beat, remark))
    shown = found if every else found[:LISTED_EPISODES]
    print_table(build_episode_table(shown))
    if len(shown) < len(found):
        typer.echo(rest_text(len(found) - len(shown)))


def resolve_start(record: str, start: float, at: str | None, stated: "SignalFileOptions | None" = None) -> float:
    """Return the seconds at which a replay begins. Raises ConfigError, or RecordError, where `at` is no place of it."""
    if at is None:
        return start
    if start:
        raise ConfigError("say where to start by --start or by --at, not by both")
    from model.formats.signal_file import SignalFileOptions
    from simulator.episode_list import find_start_s

    return find_start_s(record, at, stated or SignalFileOptions())


def check_noise(noise: str | None, snr: float | None, seed: int | None = None) -> None:
    """Refuse a noise that there is not, or whose strength or seed makes no sense. Raises ConfigError."""
    if snr is not None and noise is None:
        raise ConfigError("--snr says how strong noise is: add --noise ma or --noise bw")
    if snr is not None and not -MOST_SNR_DB <= snr <= MOST_SNR_DB:
        raise ConfigError(
            f"a signal-to-noise ratio of {snr:g} dB makes no sense: give -{MOST_SNR_DB} to {MOST_SNR_DB} (--snr)"
        )
    if seed is not None and not 0 <= seed < SEEDS_END:
        raise ConfigError(f"seed {seed} makes no sense: give 0 to {SEEDS_END - 1} (--seed)")


def check_lead(record: str, wanted: str) -> None:
    """Refuse leads that a record has none of. Raises ConfigError, or RecordError where there is no such record."""
    from agent.analysis.bed_input import choose_leads
    from agent.wire.record_chunks import record_leads
    from model.formats.signal_file import open_signal_file

    leads = record_leads(open_signal_file(record))
    try:
        choose_leads(leads, wanted)
    except StreamError as error:
        names = ", ".join(lead.name for lead in leads)
        raise ConfigError(f"no lead {wanted!r} in record {record}: it has {names} (--lead)") from error


def _simulate_settings(config: Path | None, **options: Any) -> Config:
    """Return the settings with the given options of `simulate` in them."""
    sections = {"endpoint": "link", "key": "security", "clients": "security", "insecure": "security"}
    settings = configuration.load_config(config)
    for name, value in options.items():
        settings = configuration.override_config(settings, sections.get(name, "simulate"), **{name: value})
    return settings


def parse_speed(text: str) -> float | None:
    """Return the speed in times real time, None for max."""
    if text == "max":
        return None
    try:
        return float(text)
    except ValueError:
        raise ConfigError(f'speed {text!r} makes no sense: give a number above 0, or "max"') from None
