"""`ecg-agent fleet`: the store that several monitors of the same beds share. `docs/fleet.md` has the rules."""

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agent.cli.options import (
    STORE_HELP,
    ClientsOption,
    ConfigFileOption,
    InsecureOption,
    JsonOption,
    KeyOption,
    ServerKeyOption,
    StoreArgument,
    check_by_name,
)
from agent.core import config as configuration
from model.errors import ConfigError
from model.text import name_some

if TYPE_CHECKING:
    from agent.core.config import Config
    from agent.store.store_messages import AlarmTold, BedStatusTold, StatusReply

app = typer.Typer(help="Let several monitors of the same beds share a store.", no_args_is_help=True)
MOST_ALARMS_SHOWN = 3
"""Alarms of a bed in a line of the table."""


@app.command("store")
def keep_store(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="The file to keep the store in; made if it is new.")],
    bind: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Take what monitors tell at this address.")
    ] = "tcp://127.0.0.1:5570",
    name: Annotated[str, typer.Option(metavar="NAME", help="Name the fleet.")] = "",
    key: KeyOption = None,
    clients: ClientsOption = None,
    insecure: InsecureOption = None,
    config: ConfigFileOption = None,
) -> None:
    """Keep the store of a fleet for monitors on several hosts: each beat once, each alarm once."""
    settings = configuration.override_config(
        configuration.load_config(config), "security", key=key, clients=clients, insecure=insecure
    )
    from agent.cli.stop_signals import StopFlag
    from agent.fleet.fleet_plan import check_fleet_name
    from agent.store.fleet_store import FleetStore
    from agent.store.store_database import SqliteDatabase
    from agent.store.store_server import StoreServer

    if name:
        check_fleet_name(name)
    store = FleetStore(SqliteDatabase(path), name)
    with StopFlag() as stop:
        server = StoreServer(store, bind, settings.security, lambda text: typer.echo(f"ecg-agent: {text}", err=True))
        try:
            store.prepare()
            typer.echo(f"ecg-agent: the store {path} is at {server.endpoint.replace('tcp://', 'store://')}", err=True)
            server.serve(stop)
        finally:
            server.close()


@app.command("status")
def show_status(
    store: StoreArgument,
    json: JsonOption = False,
    key: KeyOption = None,
    server_key: ServerKeyOption = None,
    insecure: InsecureOption = None,
    config: ConfigFileOption = None,
) -> None:
    """Show the beds of a fleet, who speaks for them, how far they are told, and their alarms."""
    reply = _read_status(store, _security_settings(config, key, server_key, insecure))
    if json:
        import msgspec

        typer.echo(msgspec.json.encode(reply).decode())
        return
    _print_status(reply)


@app.command("acknowledge")
def acknowledge_alarms(
    bed: Annotated[str, typer.Argument(metavar="BED", help="The bed whose alarms somebody has seen.")],
    store: Annotated[str, typer.Option(metavar="STORE", help=STORE_HELP)],
    by: Annotated[str, typer.Option(metavar="NAME", help="Who has seen them.")],
    key: KeyOption = None,
    server_key: ServerKeyOption = None,
    insecure: InsecureOption = None,
    config: ConfigFileOption = None,
) -> None:
    """Acknowledge the alarms of a bed, those that status shows, at all monitors of a fleet."""
    by = check_by_name(by)
    settings = _security_settings(config, key, server_key, insecure)
    from agent.store.fleet_store import new_deed_id
    from agent.store.store_address import ask_store, open_store_client
    from agent.store.store_messages import MOST_ACKNOWLEDGED, AskStatus, Deed, Do, DoReply, StatusReply

    client = open_store_client(store, settings.security, make=False)
    try:
        beds = {of.bed: of for of in ask_store(client, AskStatus(), StatusReply).beds}
        found = beds.get(bed)
        if found is None:
            there = f"it has {name_some(sorted(beds))}" if beds else "no monitor has told it of one"
            raise ConfigError(f"no bed {bed[:64]!r} in {client.shown}: {there}")
        shown = {alarm.identity[1:]: alarm for alarm in _most_urgent_first(found) if alarm.acknowledged_s is None}
        if not shown:
            typer.echo(f"{bed}: no alarm to acknowledge")
            return
        deed = Deed(new_deed_id(), bed, "acknowledged", by, time.time(), alarms=list(shown)[:MOST_ACKNOWLEDGED])
        done = ask_store(client, Do(deed), DoReply)
    finally:
        client.close()
    for place in done.deed.alarms:
        typer.echo(_describe_alarm(bed, shown[place]))


def _security_settings(config: Path | None, key: str | None, server_key: str | None, insecure: bool | None) -> "Config":
    settings = configuration.load_config(config)
    return configuration.override_config(settings, "security", key=key, server_key=server_key, insecure=insecure)


def _read_status(store: str, settings: "Config") -> "StatusReply":
    from agent.store.store_address import ask_store, open_store_client
    from agent.store.store_messages import AskStatus, StatusReply

    client = open_store_client(store, settings.security, make=False)
    try:
        return ask_store(client, AskStatus(), StatusReply)
    finally:
        client.close()


def _print_status(status: "StatusReply") -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from agent.cli.tables import print_table
    from model.text import make_printable

    replicas = Table(
        box=box.SIMPLE_HEAD, title=Text(make_printable(f"Fleet {status.fleet}".strip())), title_justify="left"
    )
    for heading in ("replica", "host", "process", "state", "beds"):
        replicas.add_column(heading, overflow="fold")
    for replica in status.replicas:
        state = "alive" if replica.is_alive else f"silent for {replica.silent_s:.0f} s"
        row = replica.name, replica.host, str(replica.pid), state, str(replica.beds)
        replicas.add_row(*(Text(make_printable(text)) for text in row))
    beds = Table(box=box.SIMPLE_HEAD)
    for heading in ("bed", "speaker", "replicas", "told", "beats", "samples", "alarms"):
        beds.add_column(
            heading, justify="right" if heading in ("told", "beats", "samples") else "left", overflow="fold"
        )
    for bed in status.beds:
        samples = f"{bed.sent} = {bed.analysed} + {bed.missing}"
        told = f"{bed.told_s:.1f} s"
        place = bed.bed, bed.speaker or "nobody", str(bed.listeners)
        cells = *place, told, str(bed.beats), samples, _list_alarms(bed)
        beds.add_row(*(Text(make_printable(text)) for text in cells))
    print_table(replicas)
    print_table(beds)
    if not sys.stdout.isatty():
        return
    typer.echo("samples: sent = analysed + missing, over all runs")


def _most_urgent_first(bed: "BedStatusTold") -> "list[AlarmTold]":
    """Return the alarms of a bed in the order in which every screen has them."""
    from agent.alarms.alarm_order import alarm_urgency
    from agent.alarms.priorities import SCREEN_ORDER
    from agent.store.store_reader import told_alarm

    return sorted(bed.alarms, key=lambda alarm: (-alarm_urgency(told_alarm(alarm)), SCREEN_ORDER[alarm.condition]))


def _list_alarms(bed: "BedStatusTold") -> str:
    """Say the most urgent alarms of a bed."""
    words = [
        alarm.condition + ("" if alarm.ended is None else " (over)") + (" ✓" if alarm.acknowledged_s else "")
        for alarm in _most_urgent_first(bed)
    ]
    more = len(words) - MOST_ALARMS_SHOWN
    return ", ".join(words[:MOST_ALARMS_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _describe_alarm(bed: str, told: "AlarmTold") -> str:
    """Say an alarm with the times from when to when its condition held, by the clock of its run."""
    from agent.core.alarm_times import believed_start_s
    from agent.core.clock import format_local_clock, format_local_date
    from agent.store.store_reader import told_alarm
    from model.records.resample import FS
    from model.text import make_printable

    alarm = told_alarm(told)
    begin_s = believed_start_s(alarm, alarm.onset, told.onset_s)
    end_s = None if alarm.ended is None else begin_s + (alarm.ended - alarm.onset) / FS
    over = "" if end_s is None else f", over at {format_local_clock(end_s)}"
    since = f"since {format_local_date(begin_s)} {format_local_clock(begin_s)}"
    return make_printable(f"{bed}: {alarm.condition} {since}{over}")
