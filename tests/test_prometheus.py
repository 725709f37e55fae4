"""Metrics for Prometheus: what is counted, what a scrape tells, and addresses that make no sense."""

import contextlib
import socket
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from typing import cast

import pytest
from conftest import chunks, record_counts
from prometheus_client.parser import text_string_to_metric_families

from agent.analysis.beat_classifier import BeatClassifier
from agent.core.config import Config
from agent.core.messages import Alarm, Beat, Ledger
from agent.core.views import LinkView, RecordingView
from agent.link.link_receiver import LinkReceiver
from agent.monitor.monitor_session import MonitorSession
from agent.monitor.snapshot import MonitorFigures
from agent.outputs import metrics_server
from agent.outputs.prometheus import MetricsExporter, parse_metrics_address
from model.errors import ConfigError, EndpointError

BEAT = Beat("7", 100, 150, "V", (0.0, 0.0, 1.0, 0.0, 0.0), 0.8, arrived_s=5.0, sent_s=4.9)
ALARM = Alarm("7", "run", "couplet", "low", "2 V beats in a row at 127/min", 100, 150, 5.0)


def figures(recording: RecordingView | None = None) -> MonitorFigures:
    """The figures of two beds."""
    return MonitorFigures(
        states={"ok": 1, "no data": 1},
        heart_rates={"7": 72.5},
        ledgers={"7": Ledger(100, 90, 10), 'b"8': Ledger()},
        gaps={"7": 2, 'b"8': 2},
        active_alarms={("7", "low"): 1},
        link=LinkView("tcp://x", "connected", packets=11, rejected=3),
        recording=recording,
    )


@pytest.fixture
def metrics() -> Iterator[MetricsExporter]:
    """Metrics on a free port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with MetricsExporter(f":{port}") as served:
        yield served


def scraped(served: MetricsExporter) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Every sample that a scrape brings, by name and labels."""
    with urllib.request.urlopen(served.address) as answer:
        text = answer.read().decode()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_counts_beats_and_each_alarm_once(metrics: MetricsExporter) -> None:
    """An alarm that ends or is acknowledged is told again, but is the same."""
    metrics.push([], [BEAT, BEAT, replace(BEAT, label="N"), ALARM], 0.0)
    metrics.push([], [replace(ALARM, acknowledged_s=6.0), replace(ALARM, ended=300)], 1.0)
    metrics.publish(figures())
    found = scraped(metrics)
    assert found["ecg_agent_beats_total", (("bed", "7"), ("class", "V"))] == 2
    assert found["ecg_agent_beats_total", (("bed", "7"), ("class", "N"))] == 1
    labels = (("bed", "7"), ("condition", "couplet"), ("priority", "low"))
    assert found["ecg_agent_alarms_total", labels] == 1


def test_latency_is_a_histogram(metrics: MetricsExporter) -> None:
    metrics.note_shown(BEAT, 0.03)
    metrics.note_shown(replace(BEAT, sent_s=0.0), 0.2)
    found = scraped(metrics)
    assert found["ecg_agent_added_latency_seconds_count", ()] == 2
    assert found["ecg_agent_added_latency_seconds_bucket", (("le", "0.05"),)] == 1
    assert found["ecg_agent_link_latency_seconds_count", ()] == 1, "a beat whose sending is not known counts for none"


def test_tells_of_the_session(metrics: MetricsExporter) -> None:
    """Beds by state, rates where there are any, ledgers, gaps, alarms to be seen, the link."""
    metrics.publish(figures())
    found = scraped(metrics)
    assert found["ecg_agent_beds", (("state", "ok"),)] == 1
    assert found["ecg_agent_beds", (("state", "no data"),)] == 1
    assert found["ecg_agent_beds", (("state", "refused"),)] == 0
    assert found["ecg_agent_heart_rate_bpm", (("bed", "7"),)] == 72.5
    assert ("ecg_agent_heart_rate_bpm", (("bed", 'b"8'),)) not in found
    assert found["ecg_agent_samples_sent_total", (("bed", "7"),)] == 100
    assert found["ecg_agent_samples_analysed_total", (("bed", "7"),)] == 90
    assert found["ecg_agent_samples_missing_total", (("bed", "7"),)] == 10
    assert found["ecg_agent_gaps_total", (("bed", "7"),)] == 2
    assert found["ecg_agent_alarms_active", (("bed", "7"), ("priority", "low"))] == 1
    assert found["ecg_agent_packets_total", ()] == 11
    assert found["ecg_agent_packets_rejected_total", ()] == 3
    assert found["ecg_agent_link_up", ()] == 1
    assert ("ecg_agent_recorded_bytes_total", ()) not in found


def test_tells_of_the_recording(metrics: MetricsExporter) -> None:
    metrics.publish(figures(RecordingView("night", written=4096, free=10**9)))
    found = scraped(metrics)
    assert found["ecg_agent_recorded_bytes_total", ()] == 4096
    assert found["ecg_agent_disk_free_bytes", ()] == 10**9


class SilentLink:
    """A link over which nothing comes."""

    packets = rejected = 0

    def view(self, _now_s: float) -> LinkView:
        return LinkView("tcp://x", "connected", 0, 0)

    def sent(self, _bed: str) -> int:
        return 1000

    def set_backlog(self, _enough: set[str], _too_much: set[str]) -> None:
        pass

    def heard_s(self, _bed: str) -> float:
        return 0.0

    def contested(self, _now_s: float) -> set[str]:
        return set()


def test_a_scrape_never_meets_a_step(
    metrics: MetricsExporter, settings: Config, classifier: BeatClassifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scrapes of a real session, whose beds join and have beats meanwhile, are all answered, each of one moment."""
    monkeypatch.setattr("agent.monitor.monitor_session.FIGURES_PERIOD_S", 0.0)
    interval_s = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    scrapes: list[dict[tuple[str, tuple[tuple[str, str], ...]], float]] = []
    over = threading.Event()

    def scrape() -> None:
        while not over.is_set():
            scrapes.append(scraped(metrics))

    scraper = threading.Thread(target=scrape)
    session = MonitorSession(cast(LinkReceiver, SilentLink()), classifier, settings, metrics=metrics)
    try:
        session.step([], session.clock())
        scraper.start()
        for piece in chunks(record_counts("208", 20), [125]):
            for bed in range(1 + piece.first // 125):
                now_s = session.clock()
                session.step([replace(piece, bed=f"bed {bed}", arrived_s=now_s)], now_s)
    finally:
        sys.setswitchinterval(interval_s)
        over.set()
        scraper.join()
    assert len(scrapes) > 3
    for found in scrapes:
        beds = sum(value for (name, _), value in found.items() if name == "ecg_agent_beds")
        assert beds == sum(name == "ecg_agent_gaps_total" for name, _ in found), "figures of different moments"


def connected(served: MetricsExporter) -> socket.socket:
    made = socket.create_connection(("127.0.0.1", served.port))
    made.settimeout(60)
    return made


def ended(client: socket.socket) -> bool:
    """Whether the server ends a connection, however long that takes."""
    try:
        while client.recv(4096):
            pass
    except ConnectionError:
        pass
    return True


@pytest.mark.parametrize("sent", [b"", b"G", b"GET /metrics", b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nAccept: "])
def test_half_a_request_is_dropped(metrics: MetricsExporter, monkeypatch: pytest.MonkeyPatch, sent: bytes) -> None:
    """Whoever does not finish a request is not waited for."""
    monkeypatch.setattr(metrics_server, "REQUEST_S", 0.2)
    with connected(metrics) as client:
        client.sendall(sent)
        assert ended(client)


def test_a_request_byte_by_byte_has_no_more_time(metrics: MetricsExporter, monkeypatch: pytest.MonkeyPatch) -> None:
    """The time is that of the whole request: each byte does not begin it anew."""
    monkeypatch.setattr(metrics_server, "REQUEST_S", 0.5)

    def send_slowly(client: socket.socket) -> None:
        for byte in b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 1000:
            client.sendall(bytes([byte]))
            time.sleep(0.02)

    with connected(metrics) as client, pytest.raises(ConnectionError):
        send_slowly(client)


def test_an_answer_that_nobody_reads_is_dropped(metrics: MetricsExporter, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that never reads takes a connection for its time, and not longer."""
    monkeypatch.setattr(metrics_server, "REQUEST_S", 0.2)
    metrics.publish(replace(figures(), gaps={f"bed {number}": number for number in range(200_000)}))
    with connected(metrics) as client:
        client.sendall(b"GET / HTTP/1.1\r\n\r\n")
        while metrics.connections == 0:
            time.sleep(0.01)
        while metrics.connections:
            time.sleep(0.01)


def test_many_connections_keep_no_scrape_out(metrics: MetricsExporter) -> None:
    """Beyond the most at once the oldest is closed; threads do not grow with clients."""
    threads = threading.active_count()
    metrics.publish(figures())
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(connected(metrics)) for _ in range(3 * metrics_server.MOST_CONNECTIONS)]
        for client in clients:
            with contextlib.suppress(ConnectionError):
                client.sendall(b"GET")
        assert scraped(metrics)["ecg_agent_packets_total", ()] == 11
        assert threading.active_count() == threads
        assert metrics.connections <= metrics_server.MOST_CONNECTIONS
        assert ended(clients[0])


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"\r\n\r\n", b"400 Bad Request"),
        (b"GET /\r\n\r\n", b"400 Bad Request"),
        (b"GET / HTTP/2\r\n\r\n", b"400 Bad Request"),
        (b"\xff \0 HTTP/1.1\r\n\r\n", b"405 Method Not Allowed"),
        (b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\n", b"405 Method Not Allowed"),
        (b"GET /?name[]=x&%% HTTP/1.0\r\nAccept: ;;q=x\r\n: \r\n\r\n", b"200 OK"),
    ],
)
def test_requests_that_make_no_sense(metrics: MetricsExporter, request_bytes: bytes, status: bytes) -> None:
    """They are answered by what HTTP has for them, and the next one too."""
    with connected(metrics) as client:
        client.sendall(request_bytes)
        assert client.recv(100).startswith(b"HTTP/1.1 " + status)
    metrics.publish(figures())
    assert scraped(metrics)


def test_a_request_is_bounded(metrics: MetricsExporter) -> None:
    """Headers without an end are not kept."""
    with connected(metrics) as client:
        with contextlib.suppress(ConnectionError):
            client.sendall(b"GET / HTTP/1.1\r\na: " + b"b" * 10 * metrics_server.LARGEST_REQUEST)
        assert ended(client)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        (":9100", ("127.0.0.1", 9100)),
        ("9100", ("127.0.0.1", 9100)),
        ("0.0.0.0:9100", ("0.0.0.0", 9100)),
        ("[::1]:9100", ("::1", 9100)),
    ],
)
def test_addresses(text: str, address: tuple[str, int]) -> None:
    """Without a host only this machine can read."""
    assert parse_metrics_address(text) == address


@pytest.mark.parametrize("text", [":", "host", ":0", ":65536", ":9x", "host:", ":-1", ":²"])
def test_addresses_that_make_no_sense(text: str) -> None:
    with pytest.raises(ConfigError, match=r"give a port such as :9100"):
        parse_metrics_address(text)


def test_a_port_that_is_taken(metrics: MetricsExporter) -> None:
    port = metrics.address.split(":")[2].split("/")[0]
    with pytest.raises(EndpointError, match=r"cannot be served at .*in use.*--metrics"):
        MetricsExporter(f":{port}")


def test_a_host_that_is_not_there() -> None:
    with pytest.raises(EndpointError, match=r"cannot be served at .*--metrics"):
        MetricsExporter("no.such.host.invalid:9100")
