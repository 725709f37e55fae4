"""What the monitor counts, for Prometheus to read: `ecg-agent monitor --metrics :9100`.

Plain HTTP, read only, on this machine alone unless an address is given. Counts are those of this monitor since it
began; what a scrape tells is read from the running session, which never waits for it. Names and meanings:
`docs/metrics.md`.
"""

import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, get_args
from wsgiref.simple_server import WSGIServer

from prometheus_client import CollectorRegistry, Histogram, ProcessCollector, start_http_server
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from agent.core.messages import Alarm, Beat, BedStatus, Result
from model.errors import ConfigError

if TYPE_CHECKING:
    from agent.monitor.monitor_session import MonitorSession

LOOPBACK_ADDRESS = "127.0.0.1"
LATENCY_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
"""Upper bounds of the buckets of latencies."""


def parse_metrics_address(text: str) -> tuple[str, int]:
    """Host and port of ":9100", "9100" or "HOST:9100". Raises ConfigError."""
    host, _, port = text.rpartition(":")
    if not (port.isascii() and port.isdigit()) or not 0 < int(port) < 2**16:
        raise ConfigError(f"metrics at {text!r} make no sense: give a port such as :9100, or HOST:PORT")
    return host.strip("[]") or LOOPBACK_ADDRESS, int(port)


class MetricsExporter(Collector):
    """Counts what is found, and serves it until closed. Raises ConfigError where the address cannot be had."""

    def __init__(self, address: str) -> None:
        host, port = parse_metrics_address(address)
        self._beats: Counter[tuple[str, str]] = Counter()
        self._alarms: Counter[tuple[str, str, str]] = Counter()
        self._session: MonitorSession | None = None
        self._registry = CollectorRegistry(auto_describe=False)
        self._added = self._histogram(
            "added_latency", "From the arrival of the samples that decided a beat until it is shown."
        )
        self._link = self._histogram("link_latency", "From the sending of the deciding samples to their arrival.")
        self._registry.register(self)
        ProcessCollector(registry=self._registry)
        try:
            server, thread = start_http_server(port, host, self._registry)
        except (OSError, UnicodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "no such host"
            raise ConfigError(f"metrics cannot be served at {address}: {reason}; choose another (--metrics)") from error
        self._server: WSGIServer = server
        self._thread: threading.Thread = thread
        self.address = _metrics_url(server.server_address[0], server.server_port)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Serve no more."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def watch(self, session: "MonitorSession") -> None:
        """Tell of this session from now on."""
        self._session = session

    def take(self, found: Iterable[Result]) -> None:
        """Count what the ward told: beats, and each alarm once."""
        for one in found:
            if isinstance(one, Beat):
                self._beats[one.bed, one.label] += 1
            elif isinstance(one, Alarm) and one.ended is None and one.acknowledged_s is None:
                self._alarms[one.bed, one.condition, one.priority] += 1

    def shown(self, beat: Beat, added_s: float) -> None:
        """A beat reached the person so long after its samples arrived."""
        self._added.observe(added_s)
        if beat.sent_s:
            self._link.observe(max(0.0, beat.arrived_s - beat.sent_s))

    def collect(self) -> Iterator[Metric]:
        """All families but the histograms; called by a scrape, in its own thread."""
        yield _counter_family("beats", "Beats told, by class.", ("bed", "class"), self._beats.copy())
        yield _counter_family("alarms", "Alarms announced.", ("bed", "condition", "priority"), self._alarms.copy())
        if self._session is not None:
            yield from _session_metrics(self._session)

    def _histogram(self, name: str, text: str) -> Histogram:
        return Histogram(f"ecg_agent_{name}_seconds", text, buckets=LATENCY_BUCKETS_S, registry=self._registry)


def _session_metrics(session: "MonitorSession") -> Iterator[Metric]:
    """What the session knows by itself."""
    now_s, ward = session.clock(), session.ward
    beds = list(ward.beds.values())
    states = Counter(bed.state(now_s, session.config.monitor.lost_s) for bed in beds)
    yield _gauge_family(
        "beds", "Beds, by state.", ("state",), {(state,): states[state] for state in get_args(BedStatus)}
    )
    rates = {bed.name: ward.heart_rate(bed.name) for bed in beds}
    known = {(name,): rate for name, rate in rates.items() if rate is not None}
    yield _gauge_family("heart_rate_bpm", "Heart rate, where one is shown.", ("bed",), known)
    ledgers = {bed.name: session.ledger(bed.name) for bed in beds}
    for what in ("sent", "analysed", "missing"):
        values = {(name,): getattr(ledger, what) for name, ledger in ledgers.items()}
        yield _counter_family(f"samples_{what}", f"Samples of a bed: {what}.", ("bed",), values)
    yield _counter_family("gaps", "Gaps in the signal.", ("bed",), {(bed.name,): bed.gaps for bed in beds})
    active = Counter((bed.name, alarm.priority) for bed in beds for alarm in ward.alarms.view(bed.row))
    yield _gauge_family("alarms_active", "Alarms that are to be seen now.", ("bed", "priority"), active)
    link = session.link.view(now_s)
    yield _counter_family("packets", "Packets taken.", (), {(): link.packets})
    yield _counter_family("packets_rejected", "Packets that were malformed.", (), {(): link.rejected})
    yield _gauge_family("link_up", "1 while packets come.", (), {(): float(link.state == "connected")})
    if session.recorder is not None:
        recording = session.recorder.view()
        yield _counter_family("recorded_bytes", "Bytes written to the recording.", (), {(): recording.written})
        yield _gauge_family("disk_free_bytes", "Free on the disk of the recording.", (), {(): recording.free})


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
