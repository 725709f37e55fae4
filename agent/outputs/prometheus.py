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

from agent.core.messages import Alarm, Beat, BedState, Found
from model.errors import ConfigError

if TYPE_CHECKING:
    from agent.monitor.session import Session

LOOPBACK = "127.0.0.1"
LATENCY_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
"""Upper bounds of the buckets of latencies."""


def address_of(text: str) -> tuple[str, int]:
    """Host and port of ":9100", "9100" or "HOST:9100". Raises ConfigError."""
    host, _, port = text.rpartition(":")
    if not (port.isascii() and port.isdigit()) or not 0 < int(port) < 2**16:
        raise ConfigError(f"metrics at {text!r} make no sense: give a port such as :9100, or HOST:PORT")
    return host.strip("[]") or LOOPBACK, int(port)


class Metrics(Collector):
    """Counts what is found, and serves it until closed. Raises ConfigError where the address cannot be had."""

    def __init__(self, address: str) -> None:
        host, port = address_of(address)
        self._beats: Counter[tuple[str, str]] = Counter()
        self._alarms: Counter[tuple[str, str, str]] = Counter()
        self._session: Session | None = None
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
        self.address = _url(server.server_address[0], server.server_port)

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

    def watch(self, session: "Session") -> None:
        """Tell of this session from now on."""
        self._session = session

    def take(self, found: Iterable[Found]) -> None:
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
        yield _counter("beats", "Beats told, by class.", ("bed", "class"), self._beats.copy())
        yield _counter("alarms", "Alarms announced.", ("bed", "condition", "priority"), self._alarms.copy())
        if self._session is not None:
            yield from _of_session(self._session)

    def _histogram(self, name: str, text: str) -> Histogram:
        return Histogram(f"ecg_agent_{name}_seconds", text, buckets=LATENCY_S, registry=self._registry)


def _of_session(session: "Session") -> Iterator[Metric]:
    """What the session knows by itself."""
    now_s, ward = session.clock(), session.ward
    beds = list(ward.beds.values())
    states = Counter(bed.state(now_s, session.config.monitor.lost_s) for bed in beds)
    yield _gauge("beds", "Beds, by state.", ("state",), {(state,): states[state] for state in get_args(BedState)})
    rates = {bed.name: ward.heart_rate(bed.name) for bed in beds}
    known = {(name,): rate for name, rate in rates.items() if rate is not None}
    yield _gauge("heart_rate_bpm", "Heart rate, where one is shown.", ("bed",), known)
    ledgers = {bed.name: session.ledger(bed.name) for bed in beds}
    for what in ("sent", "analysed", "missing"):
        values = {(name,): getattr(ledger, what) for name, ledger in ledgers.items()}
        yield _counter(f"samples_{what}", f"Samples of a bed: {what}.", ("bed",), values)
    yield _counter("gaps", "Gaps in the signal.", ("bed",), {(bed.name,): bed.gaps for bed in beds})
    active = Counter((bed.name, alarm.priority) for bed in beds for alarm in ward.alarms.view(bed.row))
    yield _gauge("alarms_active", "Alarms that are to be seen now.", ("bed", "priority"), active)
    link = session.link.view(now_s)
    yield _counter("packets", "Packets taken.", (), {(): link.packets})
    yield _counter("packets_rejected", "Packets that were malformed.", (), {(): link.rejected})
    yield _gauge("link_up", "1 while packets come.", (), {(): float(link.state == "connected")})
    if session.recorder is not None:
        recording = session.recorder.view()
        yield _counter("recorded_bytes", "Bytes written to the recording.", (), {(): recording.written})
        yield _gauge("disk_free_bytes", "Free on the disk of the recording.", (), {(): recording.free})


def _counter(name: str, text: str, labels: tuple[str, ...], values: Mapping[Any, float]) -> Metric:
    return _filled(CounterMetricFamily(f"ecg_agent_{name}", text, labels=labels), values)


def _gauge(name: str, text: str, labels: tuple[str, ...], values: Mapping[Any, float]) -> Metric:
    return _filled(GaugeMetricFamily(f"ecg_agent_{name}", text, labels=labels), values)


def _filled(family: CounterMetricFamily | GaugeMetricFamily, values: Mapping[Any, float]) -> Metric:
    """A family with a value for each tuple of labels."""
    for key, value in values.items():
        family.add_metric(key, value)
    return family


def _url(host: object, port: int) -> str:
    name = str(host)
    return f"http://[{name}]:{port}/metrics" if ":" in name else f"http://{name}:{port}/metrics"
