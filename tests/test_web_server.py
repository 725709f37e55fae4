"""The server of the ward: who is let in, what nobody can do without the token, and what a hostile client cannot."""

import contextlib
import http.client
import json
import re
import socket
import ssl
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from support.bridged import wait_until
from support.web_ward import TOKEN, ServedWard, make_certificate, next_text, next_waves, served, web_config
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin

from agent.analysis.beat_classifier import BeatClassifier
from agent.core.bed_settings import settings_words
from agent.core.config import Config
from agent.core.events import AlarmsHandled, BedSettingsChanged
from agent.web import web_server
from agent.web.admission import FAILURES_AT_ONCE
from agent.web.application import LARGEST_BODY
from agent.web.hand_over import HandOver
from agent.web.web_address import read_access
from agent.web.web_server import MORE_CONNECTIONS, WebServer
from model.errors import EndpointError

UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec_WebSocket_Version": "13",
    "Sec_WebSocket_Key": "dGhlIHNhbXBsZSBub25jZQ==",
}
Headers = dict[str, str | None]
Answer = tuple[int, dict[str, str], Any]
DEED = {"Content-Type": "application/json", "X-Ecg-Agent": "1", "Authorization": f"Bearer {TOKEN}"}


@pytest.fixture(scope="module")
def open_ward(settings: Config, classifier: BeatClassifier) -> Iterator[ServedWard]:
    """Serve two beds to everybody on this machine."""
    with served(web_config(settings), classifier, ("bed-1", "bed-2")) as ward:
        yield ward


@pytest.fixture
def guarded(settings: Config, classifier: BeatClassifier, tmp_path: Path) -> Iterator[ServedWard]:
    """Serve a bed to those who know the token."""
    file = tmp_path / "web.token"
    file.write_text(TOKEN)
    file.chmod(0o600)
    with served(web_config(settings, token=str(file)), classifier) as ward:
        yield ward


def ask(ward: ServedWard, path: str, method: str = "GET", body: bytes | None = None, **headers: str) -> Answer:
    """Return status, headers and content of an answer; an underscore in the name of a header stands for a dash."""
    connection = http.client.HTTPConnection(ward.host, timeout=10)
    connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    is_json = answer.headers.get_content_type() == "application/json"
    return answer.status, dict(answer.headers), json.loads(content) if is_json else content


def act(
    ward: ServedWard,
    deed: str = "acknowledge",
    by: object = "A. Nurse",
    changed: Headers | None = None,
    on: object = True,
    keys: Sequence[str] = (),
) -> Answer:
    """Try to do something; `changed` replaces headers, None leaves one out."""
    headers: Headers = {name.replace("-", "_"): value for name, value in DEED.items()}
    headers |= changed or {}
    said = {"by": by} | ({"keys": list(keys)} if deed == "acknowledge" else {"on": on})
    body = json.dumps(said).encode()
    known = {name: value for name, value in headers.items() if value is not None}
    return ask(ward, f"/api/beds/0/{deed}", "POST", body, **known)


def code_of(connection: ClientConnection) -> int | None:
    """Return the code with which a connection is closed."""
    try:
        while True:
            connection.recv(timeout=10)
    except ConnectionClosed as closed:
        return closed.rcvd.code if closed.rcvd else None


def test_the_page_is_served(open_ward: ServedWard) -> None:
    """With all that it needs, from one address, without a word about the server."""
    status, headers, page = ask(open_ward, "/")
    assert status == 200
    assert headers["content-type"] == "text/html; charset=utf-8"
    assert "server" not in headers
    for kind, path in re.findall(rb'(src|href)="([^"]+)"', page):
        if not path.startswith((b"data:", b"#")):
            assert ask(open_ward, "/" + path.decode().lstrip("./"))[0] == 200, (kind, path)


@pytest.mark.parametrize("path", ["/", "/api/beds/0/alarms", "/nothing", "/api/beds/0/acknowledge"])
def test_every_answer_has_the_headers(open_ward: ServedWard, path: str) -> None:
    """Scripts come from here alone, nothing is framed, sniffed or kept, whatever the answer is."""
    _, headers, _ = ask(open_ward, path)
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    assert "unsafe" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    "path",
    [
        "/../open_web.py",
        "/%2e%2e/open_web.py",
        "/js/..%2f..%2fopen_web.py",
        "//etc/passwd",
        "/index.html/",
        "/js/",
        "/.",
    ],
)
def test_no_path_leads_out(open_ward: ServedWard, path: str) -> None:
    """Files are held by their names: there is no path to climb."""
    assert ask(open_ward, path)[0] == 404


def test_beds_are_listed(open_ward: ServedWard) -> None:
    """Programs find the ids here."""
    beds = ask(open_ward, "/api/beds")[2]["beds"]
    assert [(bed["id"], bed["bed"]) for bed in beds] == [(0, "bed-1"), (1, "bed-2")]


def test_look_ups(open_ward: ServedWard) -> None:
    """Alarms and trend of a bed, and what is not there."""
    assert ask(open_ward, "/api/beds/0/alarms")[2]["bed"] == "bed-1"
    status, _, trend = ask(open_ward, "/api/beds/1/trend?hours=2")
    assert (status, trend["bed"], trend["minute_s"]) == (200, "bed-2", 60)
    assert ask(open_ward, "/api/beds/0/strips/none")[0] == 404
    for number in ("2", "x", "9" * 5000):
        assert ask(open_ward, f"/api/beds/{number}/alarms")[0] == 404
    for hours in ("0", "25", "-1", "x", "1e3", "", "%D9%A3", "9" * 400, "9" * 5000):
        assert ask(open_ward, f"/api/beds/0/trend?hours={hours}")[0] == 400, hours


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "192.168.1.5", ""])
def test_foreign_names_are_refused(open_ward: ServedWard, host: str) -> None:
    """A name of another machine that leads here is not served, neither page nor data nor WebSocket."""
    for path in ("/", "/api/beds/0/alarms"):
        assert ask(open_ward, path, Host=host)[0] == 403
    assert ask(open_ward, "/ws", "GET", None, Host=host, **UPGRADE)[0] == 403


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "https://127.0.0.1", "http://127.0.0.1:1"])
def test_other_pages_are_refused(open_ward: ServedWard, origin: str) -> None:
    """The browser of somebody here must not read the ward for another page."""
    assert ask(open_ward, "/api/beds/0/alarms", Origin=origin)[0] == 403
    with pytest.raises(InvalidStatus) as refused:
        open_ward.open(origin=origin)
    assert refused.value.response.status_code == 403


def test_what_browsers_say_of_other_sites(open_ward: ServedWard) -> None:
    """A link may lead here, but data are for our own page."""
    assert ask(open_ward, "/", Sec_Fetch_Site="cross-site")[0] == 200
    assert ask(open_ward, "/api/beds/0/alarms", Sec_Fetch_Site="cross-site")[0] == 403
    assert ask(open_ward, "/api/beds/0/alarms", Sec_Fetch_Site="same-origin")[0] == 200


def test_our_own_page_is_let_in(open_ward: ServedWard) -> None:
    """By the origin that a browser states."""
    connection = open_ward.open(origin=f"http://{open_ward.host}")
    hello = next_text(connection, "hello")
    assert (hello["version"], hello["fs"], hello["may_act"]) == (1, 125, False)
    connection.close()


def test_nothing_is_done_without_a_token(open_ward: ServedWard) -> None:
    """On this machine, too: without a token the page is read only."""
    status, _, said = act(open_ward)
    assert status == 403
    assert "read only" in said["error"]


def test_nothing_is_told_without_the_token(guarded: ServedWard) -> None:
    """The page itself has no secrets; all else needs the token."""
    assert ask(guarded, "/")[0] == 200
    for path in ("alarms", "trend", "strips/x"):
        status, headers, said = ask(guarded, f"/api/beds/0/{path}")
        assert (status, headers["www-authenticate"]) == (401, "Bearer")
        assert "bed" not in said
    assert ask(guarded, "/api/beds/0/alarms", Authorization=f"Bearer {TOKEN}")[0] == 200
    assert ask(guarded, f"/api/beds/0/alarms?token={TOKEN}")[0] == 401
    connection = guarded.open("wrong")
    assert code_of(connection) == 4401


def test_the_token_opens_the_socket(guarded: ServedWard) -> None:
    """And the page is told that it may act."""
    connection = guarded.open(TOKEN)
    assert next_text(connection, "hello")["may_act"]
    connection.close()


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ("", 4400),
        ("[]", 4400),
        ("{", 4400),
        ("null", 4400),
        ("[" * 4000, 4400),
        ("{}", 4401),
        ('{"token": 7}', 4401),
        ('{"token": ["x"]}', 4401),
    ],
)
def test_nonsense_instead_of_the_token(guarded: ServedWard, said: str, code: int) -> None:
    """Whatever is no token closes the connection."""
    connection = guarded.open()
    connection.send(said)
    assert code_of(connection) == code


def test_who_says_no_token_is_let_go(guarded: ServedWard, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that waits is closed."""
    monkeypatch.setattr("agent.web.viewers.TOKEN_S", 0.05)
    assert code_of(guarded.open()) == 4401


def test_tokens_are_not_guessed(guarded: ServedWard) -> None:
    """After a few wrong ones the address waits; a right one always passes, whoever else is at its address."""
    for _ in range(FAILURES_AT_ONCE):
        assert ask(guarded, "/api/beds/0/alarms", Authorization="Bearer wrong")[0] == 401
    assert ask(guarded, "/api/beds/0/alarms", Authorization="Bearer wrong")[0] == 429
    assert ask(guarded, "/api/beds/0/alarms", Authorization=f"Bearer {TOKEN}")[0] == 200
    assert code_of(guarded.open("wrong")) == 4429
    connection = guarded.open(TOKEN)
    assert next_text(connection, "hello")
    connection.close()


def deeds_of(ward: ServedWard) -> list[tuple[str, str, str]]:
    """Return what people did, as the monitor knows it."""
    events = [item.event for item in ward.ward.session.ward_snapshot(0.0).events]
    return [(event.bed, event.action, event.by) for event in events if isinstance(event, AlarmsHandled)]


def test_a_deed_is_recorded_with_its_name(guarded: ServedWard) -> None:
    """Who acknowledged is an event of the monitor."""
    connection = guarded.open(TOKEN)
    guarded.raise_alarm("two devices")
    keys = keys_of(connection, 1)
    assert act(guarded, by="  A. Nurse ", keys=keys)[:3:2] == (200, {"done": True, "acknowledged": 1})
    assert act(guarded, by="B. Nurse", keys=keys)[2] == {"done": True, "acknowledged": 0}
    wait_until(lambda: bool(deeds_of(guarded)), "it is an event")
    assert deeds_of(guarded) == [("bed-1", "acknowledged", "A. Nurse")]
    connection.close()


def keys_of(connection: ClientConnection, count: int) -> list[str]:
    """Return the keys of the alarms of the first bed, once there are so many."""
    alarms: list[dict[str, Any]] = []

    def has_them(bed: dict[str, Any]) -> bool:
        alarms[:] = [alarm for alarm in bed["alarms"] if alarm["phase"] == "active"]
        return len(alarms) == count

    wait_for_bed(connection, has_them)
    return [alarm["key"] for alarm in alarms]


def test_an_alarm_that_nobody_has_seen_is_not_acknowledged(guarded: ServedWard) -> None:
    """Only those are that the page showed when the person acted."""
    connection = guarded.open(TOKEN)
    guarded.raise_alarm("two devices")
    seen = keys_of(connection, 1)
    guarded.raise_alarm("no data")
    assert act(guarded, keys=[*seen, "x"])[2]["acknowledged"] == 1
    assert keys_of(connection, 1) != seen
    connection.close()


def test_silence_and_its_end(guarded: ServedWard) -> None:
    """Two people who want the same do not undo each other, and are told what is so."""
    connection = guarded.open(TOKEN)
    first = act(guarded, "silence")[2]
    assert (first["done"], first["bed"], first["paused_until_s"]) == (True, "bed-1", None)
    assert act(guarded, "silence", by="B. Nurse")[2] == first
    wait_for_bed(connection, lambda bed: bed["silenced_until_s"] == first["silenced_until_s"] is not None)
    for _ in range(2):
        assert act(guarded, "silence", on=False)[2]["silenced_until_s"] is None
    wait_for_bed(connection, lambda bed: bed["silenced_until_s"] is None)
    assert [action for _, action, _ in deeds_of(guarded)] == ["silenced", "sounding again"]
    connection.close()


def test_alarms_are_paused(guarded: ServedWard) -> None:
    """All alarms of a bed, for a while."""
    connection = guarded.open(TOKEN)
    until_s = [act(guarded, "pause")[2]["paused_until_s"] for _ in range(2)]
    assert until_s[0] == until_s[1] is not None
    wait_for_bed(connection, lambda bed: bed["paused_until_s"] is not None)
    assert deeds_of(guarded) == [("bed-1", "paused", "A. Nurse")]
    assert act(guarded, "pause", on=False)[2]["paused_until_s"] is None
    connection.close()


def change(
    ward: ServedWard, limits: object, was: object, by: str = "A. Nurse", changed: Headers | None = None
) -> Answer:
    """Try to change the limits of the first bed."""
    headers: Headers = {name.replace("-", "_"): value for name, value in DEED.items()}
    headers |= changed or {}
    body = json.dumps({"by": by, "limits": limits, "was": was}).encode()
    known = {name: value for name, value in headers.items() if value is not None}
    return ask(ward, "/api/beds/0/limits", "POST", body, **known)


def changes_of(ward: ServedWard) -> list[tuple[str, str]]:
    """Return who changed the settings of beds, and to what."""
    events = [item.event for item in ward.ward.session.ward_snapshot(0.0).events]
    return [(event.by, settings_words(event.settings)) for event in events if isinstance(event, BedSettingsChanged)]


def test_limits_are_changed_in_a_name(guarded: ServedWard) -> None:
    """Those that are named, and no others; all viewers see them, and who changed them is an event."""
    connection = guarded.open(TOKEN)
    wait_for_bed(connection, lambda bed: bed["id"] == 0)
    connection.send(json.dumps({"watch": 0}))
    wait_for_bed(connection, lambda bed: bed.get("own_limits") is not None)
    wanted = {"rate_high_bpm": 135, "v_most_per_min": 12.0}
    status, _, said = change(guarded, wanted, dict.fromkeys(wanted))
    assert (status, said["done"], said["limits"]["rate_high_bpm"]) == (200, True, 135)
    wait_for_bed(connection, lambda bed: (bed["limits"][0]["high"], bed["limits"][0]["own"]) == (135, True))
    wait_for_bed(connection, lambda bed: {row["name"]: row["own"] for row in bed["own_limits"]}["v_most_per_min"] == 12)
    assert change(guarded, {"rate_high_bpm": None}, {"rate_high_bpm": 135.0}, by="B. Nurse")[0] == 200
    assert change(guarded, {"rate_high_bpm": None}, {"rate_high_bpm": None})[0] == 200  # nothing to do
    wait_until(lambda: len(changes_of(guarded)) == 2, "both are events")
    assert changes_of(guarded) == [
        ("A. Nurse", "rate above 135, V beats above 12 a minute"),
        ("B. Nurse", "V beats above 12 a minute"),
    ]
    connection.close()


@pytest.mark.parametrize(
    ("limits", "was", "status", "why"),
    [
        ({"rate_high_bpm": 250}, {"rate_high_bpm": None}, 400, '"heart rate above" must be 200 or less: extreme'),
        ({"rate_low_bpm": 180}, {"rate_low_bpm": None}, 400, 'must not be more than "heart rate above"'),
        ({"rate_low_bpm": -1}, {"rate_low_bpm": None}, 400, '"heart rate below" must be'),
        ({"asystole_s": 60}, {"asystole_s": None}, 400, '"asystole after" must be 8'),
        ({"v_most_per_min": 12.5}, {"v_most_per_min": None}, 400, '"V beats above" must be a whole number'),
        ({"v_most_per_min": 1e300}, {"v_most_per_min": None}, 400, '"V beats above" must be 200'),
        ({"rate_high_bpm": 140}, {"rate_high_bpm": 130}, 409, "meanwhile"),
        ({"rate_high_bpm": 140}, {}, 400, "what was"),
        ({"off": 1}, {"off": 1}, 400, "what was"),
        ({"__class__": 1}, {"__class__": 1}, 400, "what was"),
        ({}, {}, 400, "what was"),
        ({"rate_high_bpm": "140"}, {"rate_high_bpm": None}, 400, "content"),
        ([1], {}, 400, "content"),
    ],
)
def test_limits_that_are_refused(guarded: ServedWard, limits: object, was: object, status: int, why: str) -> None:
    """Nothing is changed that the terminal would not change, nor what somebody else has changed meanwhile."""
    answered, _, said = change(guarded, limits, was)
    assert answered == status, said
    assert why in said["error"]
    assert changes_of(guarded) == []


def test_limits_need_the_token(guarded: ServedWard, open_ward: ServedWard) -> None:
    """As every deed; a monitor without a token takes none."""
    refused: list[tuple[Headers, int]] = [({"Authorization": None}, 401), ({"X_Ecg_Agent": None}, 403)]
    for changed, status in refused:
        assert change(guarded, {"rate_high_bpm": 130}, {"rate_high_bpm": None}, changed=changed)[0] == status
    assert change(open_ward, {"rate_high_bpm": 130}, {"rate_high_bpm": None})[0] == 403
    assert changes_of(guarded) == changes_of(open_ward) == []


def wait_for_bed(connection: ClientConnection, holds: Any) -> None:
    """Wait until the first bed of a ward is as it should be."""
    until_s = time.monotonic() + 60
    while time.monotonic() < until_s:
        beds = next_text(connection, "ward")["beds"]
        if beds and holds(beds[0]):
            return
    raise AssertionError("it never was")


@pytest.mark.parametrize(
    ("changed", "status"),
    [
        ({"Authorization": None}, 401),
        ({"Authorization": "Bearer wrong"}, 401),
        ({"Authorization": "Basic wrong"}, 401),
        ({"X_Ecg_Agent": None}, 403),
        ({"Content_Type": "text/plain"}, 415),
        ({"Content_Type": "application/x-www-form-urlencoded"}, 415),
        ({"Origin": "http://evil.example"}, 403),
        ({"Sec_Fetch_Site": "cross-site"}, 403),
        ({"Host": "evil.example"}, 403),
    ],
)
def test_deeds_that_are_refused(guarded: ServedWard, changed: Headers, status: int) -> None:
    """Each thing that a page of another origin could not send is needed."""
    assert act(guarded, changed=changed)[0] == status
    guarded.stop_loop()
    assert deeds_of(guarded) == []


@pytest.mark.parametrize(
    "by", ["", "   ", "x" * 41, 7, None, ["x"], "A.\nNurse", "A. \x1b[1mNurse", "A. \u202eesruN", "A.\u200bNurse"]
)
def test_names_that_are_none(guarded: ServedWard, by: object) -> None:
    """Who acts has a name of at most forty characters, each of which can be seen."""
    assert act(guarded, by=by)[0] == 400


def test_contents_that_are_none(guarded: ServedWard) -> None:
    """Too large, no JSON, no deed, no bed, or another method."""
    headers = {name.replace("-", "_"): value for name, value in DEED.items()}
    post = "/api/beds/0/acknowledge"
    assert ask(guarded, post, "POST", b"x" * (LARGEST_BODY + 1), **headers)[0] == 413
    assert ask(guarded, post, "POST", b'{"by": "x"}', **headers)[0] == 400
    assert ask(guarded, post, "POST", b'{"by": "x", "keys": "y"}', **headers)[0] == 400
    assert ask(guarded, post, "POST", b'{"by": "x", "more": ' + b"[" * 4000, **headers)[0] == 400
    for said in (b"", b', "on": null', b', "on": 1', b', "keys": []'):
        assert ask(guarded, "/api/beds/0/silence", "POST", b'{"by": "x"' + said + b"}", **headers)[0] == 400
    assert ask(guarded, post, "POST", b"x", **headers)[0] == 400
    assert ask(guarded, post, "POST", b'{"by": "\xff"}', **headers)[0] == 400
    assert ask(guarded, "/api/beds/0/explode", "POST", b'{"by": "x"}', **headers)[0] == 404
    assert ask(guarded, "/api/beds/7/silence", "POST", b'{"by": "x"}', **headers)[0] == 404
    assert ask(guarded, post, "PUT", b'{"by": "x"}', **headers)[0] == 405


def test_a_stopped_loop_is_said(guarded: ServedWard, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who asks while the monitor hangs is told so."""
    monkeypatch.setattr("agent.web.application.ANSWER_S", 0.05)
    guarded.stop_loop()
    status, _, said = act(guarded)
    assert (status, said["error"]) == (503, "the monitor is busy: try again")


def test_waves_flow(open_ward: ServedWard) -> None:
    """What the beds are given is seen in the browser."""
    connection = open_ward.open()
    _, blocks = next_waves(connection)
    assert [block.bed for block in blocks] == [0, 1]
    assert all(block.resets and len(block.samples) == 1250 for block in blocks)
    connection.close()


def test_ten_watch_and_the_eleventh_is_told(settings: Config, classifier: BeatClassifier) -> None:
    """Whoever leaves makes room."""
    with served(web_config(settings), classifier) as ward:
        first = [ward.open() for _ in range(settings.web.viewers)]
        for connection in first:
            assert next_text(connection, "hello")
        assert code_of(ward.open()) == 4503
        first[0].close()
        wait_until(lambda: ward.server.viewers < settings.web.viewers, "the first leaves")
        late = ward.open()
        assert next_text(late, "hello")
        for connection in (*first[1:], late):
            connection.close()
        wait_until(lambda: ward.server.viewers == 0, "all leave")
        assert ward.ward.hand_over.wanted is None


def test_a_start_has_a_name_of_its_own(settings: Config, classifier: BeatClassifier) -> None:
    """By it a page knows that the monitor is another, and forgets what it knew."""
    names = set()
    for _ in range(2):
        with served(web_config(settings), classifier) as ward:
            connection = ward.open()
            names.add(next_text(connection, "hello")["start"])
            connection.close()
    assert len(names) == 2


def test_the_end_is_told(settings: Config, classifier: BeatClassifier) -> None:
    """A monitor that ends closes its connections, quickly, also those of clients that do not read."""
    with served(web_config(settings), classifier) as ward:
        connection, deaf = ward.open(), socket.create_connection(("127.0.0.1", ward.server.port))
        assert next_text(connection, "hello")
        began_s = time.monotonic()
        ward.server.close()
        assert time.monotonic() - began_s < 3
        assert code_of(connection) in (1012, 1006, None)
        deaf.close()
        ward.server.close()


def test_giant_messages_end_the_connection(open_ward: ServedWard) -> None:
    """A browser has little to say."""
    connection = open_ward.open()
    connection.send(json.dumps({"show": [0] * 10_000}))
    assert code_of(connection) == 1009


def test_nonsense_ends_the_connection(open_ward: ServedWard) -> None:
    """Text that is no JSON, and bytes."""
    for said in ("nonsense", b"\x00\x01", "[" * 4000):
        connection = open_ward.open()
        connection.send(said)
        assert code_of(connection) == 4400


def test_everything_is_encrypted(settings: Config, classifier: BeatClassifier, tmp_path: Path) -> None:
    """Page and WebSocket over TLS; plain requests and handshakes that never end come to nothing."""
    certificate, key = make_certificate(tmp_path)
    with served(web_config(settings, certificate=certificate, private_key=key), classifier) as ward:
        trust = ssl.create_default_context(cafile=certificate)
        connection = http.client.HTTPSConnection("localhost", ward.server.port, context=trust, timeout=10)
        connection.request("GET", "/")
        assert connection.getresponse().status == 200
        connection.close()
        address = f"wss://localhost:{ward.server.port}/ws"
        with connect(address, ssl=trust, origin=Origin(f"https://localhost:{ward.server.port}")) as viewer:
            assert next_text(viewer, "hello")
        idle = raw(ward, b"")
        plain = raw(ward, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        with contextlib.suppress(ConnectionResetError):
            assert not plain.recv(100).startswith(b"HTTP")
        assert ward.server.address.startswith("https://")
        plain.close()
        idle.close()


def raw(ward: ServedWard, sent: bytes) -> socket.socket:
    """Return a connection on which something was sent."""
    connection = socket.create_connection(("127.0.0.1", ward.server.port), timeout=10)
    connection.sendall(sent)
    return connection


def test_giant_heads_are_refused(open_ward: ServedWard) -> None:
    """Headers beyond 16 kB end the connection, also those that come at once."""
    assert ask(open_ward, "/", X="x" * 15_000)[0] == 200
    assert ask(open_ward, "/", X="x" * 17_000)[0] in (400, 431)
    connection = raw(open_ward, b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 100_000)
    answer = b""
    with contextlib.suppress(ConnectionResetError):
        while part := connection.recv(65536):
            answer += part
    assert b" 200 " not in answer
    connection.close()


@pytest.mark.parametrize("sent", [b"", b"GET / HT", b"POST /api/beds/0/silence HTTP/1.1\r\nHost: localhost\r\n"])
def test_idle_connections_are_dropped(open_ward: ServedWard, monkeypatch: pytest.MonkeyPatch, sent: bytes) -> None:
    """Whoever sends nothing, or never ends, is dropped."""
    monkeypatch.setattr(web_server, "REQUEST_S", 0.1)
    connection = raw(open_ward, sent)
    with contextlib.suppress(ConnectionResetError):
        assert connection.recv(1) == b""
    connection.close()


def test_idle_connections_keep_nobody_out(open_ward: ServedWard) -> None:
    """Beyond a number the oldest ones give way."""
    idle = [raw(open_ward, b"") for _ in range(MORE_CONNECTIONS + 30)]
    connection = open_ward.open()
    assert next_text(connection, "hello")
    assert ask(open_ward, "/")[0] == 200
    assert open_ward.server.connections <= MORE_CONNECTIONS + 10
    for one in idle:
        one.close()
    connection.close()


def test_viewers_do_not_give_way(open_ward: ServedWard) -> None:
    """Those who are let in stay, however many come after them."""
    connection = open_ward.open()
    assert next_text(connection, "hello")
    idle = [raw(open_ward, b"") for _ in range(MORE_CONNECTIONS + 30)]
    for _ in range(3):
        next_text(connection, "ward")
    for one in idle:
        one.close()
    connection.close()


def test_an_address_that_is_taken(open_ward: ServedWard, settings: Config) -> None:
    """The message says what to do."""
    config = web_config(settings, address=f":{open_ward.server.port}")
    with pytest.raises(EndpointError, match=r"in use; choose another \(--web\)"):
        WebServer(read_access(config), HandOver(), config.web)


def test_a_flood_of_messages_ends_the_connection(open_ward: ServedWard) -> None:
    """One viewer must not slow the analysis."""
    connection = open_ward.open()
    assert next_text(connection, "hello")
    with contextlib.suppress(ConnectionClosed):
        for number in range(2000):
            connection.send(json.dumps({"seconds": 1 + number % 30}))
    assert code_of(connection) == 4429


def test_two_lengths_are_refused(open_ward: ServedWard) -> None:
    """A proxy before us might read the content otherwise than we do."""
    head = b"POST /api/beds/0/silence HTTP/1.1\r\nHost: localhost\r\n"
    connection = raw(open_ward, head + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n")
    assert connection.recv(100).startswith(b"HTTP/1.1 400")
    connection.close()


def test_a_viewer_that_does_not_answer_gives_way(
    settings: Config, classifier: BeatClassifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where all places are taken a new one has its place; one that answers stays."""
    monkeypatch.setattr("agent.web.viewers.DISPLACED_S", 0.3)
    with served(web_config(settings, viewers=2), classifier) as ward:
        answers, silent = ward.open(), ward.open()
        next_waves(answers)
        next_waves(silent, answer=False)
        time.sleep(0.4)
        late = ward.open()
        assert next_text(late, "hello")
        assert code_of(silent) == 4408
        assert ward.server.viewers == 2
        next_text(answers, "ward")
        for connection in (answers, late):
            connection.close()


def test_a_monitor_that_is_starting_says_so(settings: Config, classifier: BeatClassifier) -> None:
    """Each second as long as its loop has made no ward, so that a page knows it from one that is gone."""
    with served(web_config(settings), classifier) as ward:
        ward.stop_loop()
        connection = ward.open()
        told = [next_text(connection, "starting")["now_s"] for _ in range(2)]
        assert told[1] > told[0] > 1e9
        connection.close()
