"""What the monitor counts, for Prometheus to read: `ecg-agent monitor --metrics :9100`.

Plain HTTP, read only, on this machine alone unless an address is given. Counts are those of this monitor since it
began. Scrapes are answered in a thread of their own: they see a frozen copy that the monitor makes once a second. Names
and meanings: `docs/metrics.md`.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self, get_args

from prometheus_client import CollectorRegistry, Histogram, ProcessCollector, make_wsgi_app
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from agent.core.messages import Alarm, Beat, Result
from agent.core.views import BedStatus
from agent.monitor.snapshot import FleetFigures, MonitorFigures
from agent.outputs.metrics_server import MetricsServer
from model.errors import ConfigError, EndpointError

LOOPBACK_ADDRESS = "127.0.0.1"
LATENCY_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
"""Upper bounds of the buckets of latencies."""


def parse_metrics_address(text: str) -> tuple[str, int]:
    """Host and port of ":9100", "9100" or "HOST:9100". Raises ConfigError."""
    host, _, port = text.rpartition(":")
    if not (port.isascii() and port.isdigit()) or not 0 < int(port) < 2**16:
        raise ConfigError(f"metrics at {text!r} make no sense: give a port such as :9100, or HOST:PORT")
    return host.strip("[]") or LOOPBACK_ADDRESS, int(port)


@dataclass(frozen=True, slots=True)
class _PublishedFigures:
    """What a scrape tells: counts of beats and alarms by their labels, and the figures of all beds."""

    beats: dict[tuple[str, str], int]
    alarms: dict[tuple[str, str, str], int]
    figures: MonitorFigures


class MetricsExporter(Collector):
    """Counts results, and serves them until closed. Raises EndpointError if the address cannot be had."""

    def __init__(self, address: str, has_latencies: bool = True) -> None:
        """`has_latencies`: beats are shown here, and how late they are is counted."""
        host, port = parse_metrics_address(address)
        self._beats: Counter[tuple[str, str]] = Counter()
        self._alarms: Counter[tuple[str, str, str]] = Counter()
        self._published: _PublishedFigures | None = None
        self._registry = CollectorRegistry(auto_describe=False)
        self._has_latencies = has_latencies
        self._added = self._histogram(
            "added_latency", "From the arrival of the samples that decided a beat until it is shown."
        )
        self._link = self._histogram("link_latency", "From the sending of the deciding samples to their arrival.")
        self._registry.register(self)
        ProcessCollector(registry=self._registry)
        try:
            self._server = MetricsServer(host, port, make_wsgi_app(self._registry))
        except (OSError, UnicodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "no such host"
            text = f"metrics cannot be served at {address}: {reason}; choose another (--metrics)"
            raise EndpointError(text) from error
        self.port: int = self._server.port
        self.address = _metrics_url(self._server.host, self.port)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def connections(self) -> int:
        """Return how many scrapes are under way."""
        return self._server.connections

    def close(self) -> None:
        """Serve no more."""
        self._server.close()

    def push(self, messages: Sequence[object], results: Sequence[Result], now_s: float) -> None:  # noqa: ARG002  # results only
        """Count beats, and each alarm once."""
        for item in results:
            if isinstance(item, Beat):
                self._beats[item.bed, item.label] += 1
            elif isinstance(item, Alarm) and item.ended is None and item.acknowledged_s is None and not item.paused:
                self._alarms[item.bed, item.condition, item.priority] += 1

    def publish(self, figures: MonitorFigures) -> None:
        """Let scrapes tell these figures, and the counts as they are now."""
        fleet = figures.fleet
        counts = (fleet.beats, fleet.alarms) if fleet else (dict(self._beats), dict(self._alarms))
        self._published = _PublishedFigures(*counts, figures)

    def note_shown(self, beat: Beat, added_s: float) -> None:
        """Count a beat that was shown `added_s` seconds after its samples arrived."""
        self._added.observe(added_s)
        if beat.sent_s:
            self._link.observe(max(0.0, beat.arrived_s - beat.sent_s))

    def collect(self) -> Iterator[Metric]:
        """Return all families but the histograms; called by a scrape, in the thread of the server."""
        published = self._published
        if published is not None:
            yield _counter_family("beats", "Beats, by class.", ("bed", "class"), published.beats)
            labels = ("bed", "condition", "priority")
            yield _counter_family("alarms", "Alarms announced.", labels, published.alarms)
            yield from _figure_families(published.figures)

    def _histogram(self, name: str, text: str) -> Histogram:
        registry = self._registry if self._has_latencies else None
        return Histogram(f"ecg_agent_{name}_seconds", text, buckets=LATENCY_BUCKETS_S, registry=registry)


def _figure_families(figures: MonitorFigures) -> Iterator[Metric]:
    states = {(state,): figures.states.get(state, 0) for state in get_args(BedStatus)}
    yield _gauge_family("beds", "Beds, by state.", ("state",), states)
    rates = {(name,): rate for name, rate in figures.heart_rates.items()}
    yield _gauge_family("heart_rate_bpm", "Heart rate, if one is shown.", ("bed",), rates)
    for what in ("sent", "analysed", "missing"):
        values = {(name,): getattr(ledger, what) for name, ledger in figures.ledgers.items()}
        yield _counter_family(f"samples_{what}", f"Samples of a bed: {what}.", ("bed",), values)
    text = "Alarms on the screen now."
    yield _gauge_family("alarms_active", text, ("bed", "priority"), figures.active_alarms)
    up = {(): float(figures.link.state == "connected")}
    if figures.fleet is not None:
        yield _gauge_family("link_up", "1 while the store answers.", (), up)
        yield from _fleet_families(figures.fleet)
        return
    gaps = {(name,): count for name, count in figures.gaps.items()}
    yield _counter_family("gaps", "Gaps in the signal.", ("bed",), gaps)
    yield _counter_family("packets", "Packets received.", (), {(): figures.link.packets})
    yield _counter_family("packets_rejected", "Packets rejected as malformed.", (), {(): figures.link.rejected})
    yield _gauge_family("link_up", "1 while packets come.", (), up)
    if figures.recording is not None:
        yield _counter_family("recorded_bytes", "Bytes written to the recording.", (), {(): figures.recording.written})
        yield _gauge_family("disk_free_bytes", "Free on the disk of the recording.", (), {(): figures.recording.free})


def _fleet_families(fleet: FleetFigures) -> Iterator[Metric]:
    replicas = {(state,): fleet.replicas.get(state, 0) for state in ("alive", "silent")}
    yield _gauge_family("replicas", "Monitors of the fleet, by state.", ("state",), replicas)
    listeners = {(name,): count for name, count in fleet.listeners.items()}
    yield _gauge_family("listening_replicas", "Monitors that listen to a bed.", ("bed",), listeners)
    yield _gauge_family("store_age_seconds", "Since the store answered.", (), {(): fleet.age_s})


def _counter_family(name: str, text: str, labels: tuple[str, ...], values: Mapping[Any, float]) -> Metric:
    return _fill_family(CounterMetricFamily(f"ecg_agent_{name}", text, labels=labels), values)


def _gauge_family(name: str, text: str, labels: tuple[str, ...], values: Mapping[Any, float]) -> Metric:
    return _fill_family(GaugeMetricFamily(f"ecg_agent_{name}", text, labels=labels), values)


def _fill_family(family: CounterMetricFamily | GaugeMetricFamily, values: Mapping[Any, float]) -> Metric:
    """A family with a value for each tuple of labels."""
    for key, value in values.items():
        family.add_metric(key, value)
    return family


def _metrics_url(host: object, port: int) -> str:
    name = str(host)
    return f"http://[{name}]:{port}/metrics" if ":" in name else f"http://{name}:{port}/metrics"
