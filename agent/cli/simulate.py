"""`ecg-agent simulate`: devices that aren't there, replaying records."""

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from agent.cli.options import Clients, ConfigFile, Endpoint, Insecure, Key, Start
from agent.core import config as configuration
from agent.core.config import Config
from model.errors import ConfigError

app = typer.Typer(help="Replay records as a bedside device would send them.", no_args_is_help=True)

Speed = Annotated[str, typer.Option(help="Times real time, or max for as fast as it is read.")]
Duration = Annotated[float | None, typer.Option(help="Seconds to replay; the whole record if left out.")]
Loop = Annotated[bool, typer.Option("--loop", help="Begin anew at the end of the record.")]
NoiseKind = Annotated[str | None, typer.Option("--noise", help="Add noise: ma (muscle) or bw (baseline wander).")]
Snr = Annotated[float | None, typer.Option(help="Signal-to-noise ratio of the noise, in dB.")]
NoiseSeed = Annotated[int | None, typer.Option("--seed", help="Which stretch of the noise is taken.")]
PacketMs = Annotated[float | None, typer.Option(help="Milliseconds of signal in a packet.")]
Wait = Annotated[bool, typer.Option("--wait", help="Hold the first sample until somebody listens.")]
Child = Annotated[bool, typer.Option("--child", hidden=True, help="End with the process that started this one.")]


@app.command("record")
def record(
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
    settings = _settings(config, **of_device, snr_db=snr, noise_seed=seed, packet_ms=packet_ms)
    from agent.cli.monitor import play
    from simulator.record_replay import Plan
    from simulator.scheduler import Pace, bed_names

    name = bed if bed is not None else bed_names([record])[0]
    of = settings.simulate
    plan = Plan(record, name, start, duration, loop, noise, of.snr_db, of.noise_seed)
    play(settings, [plan], of.packet_ms, Pace(_speed(speed), wait), os.getppid() if child else None)


@app.command("ward")
def ward(
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
    settings = _settings(config, **of_device, snr_db=snr, noise_seed=seed, ward_packet_ms=packet_ms)
    from dataclasses import replace

    from agent.cli.monitor import play
    from simulator.record_replay import Plan
    from simulator.scheduler import Pace, bed_names, spread

    if not records and beds is None:
        raise ConfigError(
            "a ward needs beds: say which records (ecg-agent simulate ward 100 208 119) "
            "or how many beds (ecg-agent simulate ward --beds 8)"
        )
    if records and beds is not None:
        raise ConfigError("say either which records (ecg-agent simulate ward 100 208 119) or how many --beds, not both")
    of = settings.simulate
    base = Plan("", "", start, duration, loop, noise, of.snr_db, of.noise_seed)
    if records:
        names = bed_names(records)
        plans = [replace(base, record=record, bed=bed) for record, bed in zip(records, names, strict=True)]
    else:
        plans = spread(beds or 0, base)
    play(settings, plans, of.ward_packet_ms, Pace(_speed(speed), wait), os.getppid() if child else None)


@app.command("list")
def list_records() -> None:
    """The embedded records: leads, length, beats of each class, remarks."""
    from rich.console import Console

    from simulator.catalog import entries, table

    width = None if sys.stdout.isatty() else 240
    Console(width=width).print(table(entries()))


def _settings(config: Path | None, **options: Any) -> Config:
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
