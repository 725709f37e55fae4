"""`ecg-agent fleet watch`: one view over all hosts of a fleet, read from its store. `docs/fleet.md` has a section."""

import contextlib
import math
import os
import select
import socket
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from agent.cli.options import (
    ConfigFileOption,
    InsecureOption,
    KeyOption,
    MetricsOption,
    SecondsOption,
    ServerKeyOption,
    StoreArgument,
    WebOption,
    WebTokenOption,
    check_by_name,
    serve_web,
)
from agent.core import config as configuration
from model.errors import SourceError

if TYPE_CHECKING:
    from agent.core.config import Config
    from agent.monitor.result_sinks import Viewer
    from agent.outputs.prometheus import MetricsExporter
    from agent.store.fleet_ward import FleetWard
    from agent.store.ward_feed import WardFeed

LONGEST_WAIT_S = 0.1
"""Longest sleep of the loop, so that a wish to stop is soon seen."""
STORE_CHECK_S = 0.25
"""How often a store that is not there yet is looked for."""
FIGURES_PERIOD_S = 1.0
"""How often the figures for Prometheus are made."""


def watch_fleet(
    store: StoreArgument,
    by: Annotated[
        str | None, typer.Option(metavar="NAME", help="Name who acts here.", show_default="the ward view of this host")
    ] = None,
    web: WebOption = None,
    web_token: WebTokenOption = None,
    metrics: MetricsOption = None,
    seconds: SecondsOption = None,
    key: KeyOption = None,
    server_key: ServerKeyOption = None,
    insecure: InsecureOption = None,
    config: ConfigFileOption = None,
) -> None:
    """Watch all beds of a fleet, whichever host follows them: the ward that monitors show, without traces."""
    name = f"ward view of {socket.gethostname()}" if by is None else check_by_name(by)
    settings = configuration.load_config(config)
    settings = configuration.override_config(settings, "security", key=key, server_key=server_key, insecure=insecure)
    settings = serve_web(configuration.override_config(settings, "monitor", metrics=metrics), web, web_token)
    from agent.cli.stop_signals import StopFlag
    from agent.store.fleet_ward import FleetWard

    with contextlib.ExitStack() as stack:
        asked = stack.enter_context(StopFlag())
        end_s = math.inf if seconds is None else time.monotonic() + seconds

        def stop() -> bool:
            return asked() or time.monotonic() >= end_s

        feed = _open_feed(store, settings, stop)
        if feed is None:
            return
        feed.start()
        stack.callback(feed.close)
        ward = FleetWard(feed, settings, name)
        exporter = None
        if settings.monitor.metrics:
            from agent.outputs.prometheus import MetricsExporter

            exporter = stack.enter_context(MetricsExporter(settings.monitor.metrics, has_latencies=False))
            _tell_watcher(f"metrics are at {exporter.address}")
        viewer = _open_viewer(stack, ward, settings)
        if settings.web.address:
            from agent.web.open_web import open_web_station

            station = open_web_station(settings)
            stack.callback(station.close)
            _tell_watcher(f"the ward is at {station.address}")
            viewer = station.watch(viewer, ward)
        try:
            _watch(ward, viewer, exporter, stop)
        except BrokenPipeError:  # the reader of the pipe has left, as `head` does
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _open_feed(store: str, settings: "Config", stop: Callable[[], bool]) -> "WardFeed | None":
    """Return the feed of a store, once it is there; None if `stop` comes first. Says in a line what it waits for.

    Raises ConfigError for what is no store.
    """
    from agent.core.clock import SteadyClock
    from agent.store.store_address import open_store_client
    from agent.store.store_database import NoStoreError
    from agent.store.ward_feed import WardFeed

    client = open_store_client(store, settings.security, make=False)
    said = ""
    try:
        while not stop():
            try:
                feed = WardFeed(client, SteadyClock(), counts_alarms=bool(settings.monitor.metrics))
            except (NoStoreError, SourceError) as error:
                if said != str(error):
                    said = str(error)
                    _tell_watcher(f"{said}; waiting for it, Ctrl-C ends")
                time.sleep(STORE_CHECK_S)
            else:
                return feed
    except BaseException:
        client.close()
        raise
    client.close()
    return None


def _open_viewer(stack: contextlib.ExitStack, ward: "FleetWard", settings: "Config") -> "Viewer":
    """Return the dashboard, or where there is no terminal what says in lines what changes."""
    if not sys.stdout.isatty():
        from agent.cli.fleet_lines import FleetLines

        return FleetLines(ward, sys.stdout)
    from rich.console import Console

    from agent.dashboard.terminal import TerminalScreen
    from agent.dashboard.view import DashboardView
    from agent.outputs.dashboard_sink import DashboardSink

    view = DashboardView(ascii=settings.dashboard.ascii, seconds=settings.dashboard.seconds or None)
    screen = stack.enter_context(TerminalScreen(Console(), view))
    return DashboardSink(screen, settings, ward)


def _watch(ward: "FleetWard", viewer: "Viewer", exporter: "MetricsExporter | None", stop: Callable[[], bool]) -> None:
    """Show the ward until `stop`, or until a person asks for the end."""
    figures_due_s = 0.0
    while not stop():
        now_s = ward.clock()
        if exporter is not None and now_s >= figures_due_s:
            figures_due_s = now_s + FIGURES_PERIOD_S
            exporter.publish(ward.figures(now_s))
        if not viewer.refresh(now_s):
            break
        _wait(viewer.keyboard, min(LONGEST_WAIT_S, viewer.patience_s(ward.clock())))
    viewer.finish()


def _wait(keyboard: int | None, seconds: float) -> None:
    if keyboard is None:
        time.sleep(seconds)
    else:
        select.select([keyboard], [], [], seconds)


def _tell_watcher(text: str) -> None:
    typer.echo(f"ecg-agent: {text}", err=True)
