"""Addresses, tokens and certificates of the ward in a browser: what is refused, and what the message says to do."""

from pathlib import Path

import pytest
from support.web_ward import TOKEN, make_certificate, web_config

from agent.core.config import Config, override_config
from agent.web.web_address import WebAccess, parse_web_address, read_access
from model.errors import ConfigError


@pytest.fixture
def token(tmp_path: Path) -> str:
    """Return the name of a file with a token."""
    return private_file(tmp_path / "web.token", f"{TOKEN}\n")


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """Return the names of a certificate of localhost and of its key."""
    return make_certificate(tmp_path_factory.mktemp("tls"))


def private_file(path: Path, text: str, mode: int = 0o600) -> str:
    """Write a file with a mode, and return its name."""
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)
    return str(path)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        (":8080", ("127.0.0.1", 8080)),
        ("8080", ("127.0.0.1", 8080)),
        (":0", ("127.0.0.1", 0)),
        ("localhost:1", ("localhost", 1)),
        ("[::1]:8080", ("::1", 8080)),
        ("*:80", ("0.0.0.0", 80)),
    ],
)
def test_addresses(text: str, address: tuple[str, int]) -> None:
    """A port alone stays on this machine."""
    assert parse_web_address(text) == address


@pytest.mark.parametrize("text", ["", ":", "x", ":65536", ":-1", "::1:80", "http://x:80", ":8080/", ":٣", "a:b"])
def test_addresses_that_make_no_sense(text: str) -> None:
    """The message shows how one looks."""
    with pytest.raises(ConfigError, match="--web"):
        parse_web_address(text)


@pytest.mark.parametrize("address", ["0.0.0.0:80", "*:80", "[::]:80", "192.168.1.5:80", "ward.example:80"])
def test_beyond_this_machine_there_is_a_token(settings: Config, address: str) -> None:
    """Names of patients are on the page."""
    with pytest.raises(ConfigError, match="--web-token"):
        read_access(web_config(settings, address=address))


def test_beyond_this_machine_there_is_a_certificate(settings: Config, token: str, pair: tuple[str, str]) -> None:
    """Without one the token could be read on its way, which --insecure allows."""
    beyond = web_config(settings, address="0.0.0.0:0", token=token)
    with pytest.raises(ConfigError, match="unencrypted"):
        read_access(beyond)
    assert read_access(override_config(beyond, "security", insecure=True)).scheme == "http"
    safe = web_config(settings, address="0.0.0.0:0", token=token, certificate=pair[0], private_key=pair[1])
    assert read_access(safe).scheme == "https"


def test_insecure_does_not_replace_the_token(settings: Config) -> None:
    """It lifts encryption alone."""
    config = override_config(web_config(settings, address="0.0.0.0:0"), "security", insecure=True)
    with pytest.raises(ConfigError, match="--web-token"):
        read_access(config)


@pytest.mark.parametrize(
    ("text", "mode", "words"),
    [
        (TOKEN, 0o644, "can be read by others: chmod 600"),
        (TOKEN, 0o640, "can be read by others"),
        ("short", 0o600, "at least 16"),
        ("", 0o600, "at least 16"),
        ("two words of a token", 0o600, "one word"),
        (f"{TOKEN}\n{TOKEN}", 0o600, "one word"),
        ("ä" * 20, 0o600, "one word"),
        ("x" * 5000, 0o600, "no file with a token"),
    ],
)
def test_tokens_that_are_none(settings: Config, tmp_path: Path, text: str, mode: int, words: str) -> None:
    """The message says what is wrong with the file, and never what is in it."""
    file = private_file(tmp_path / "web.token", text, mode)
    with pytest.raises(ConfigError, match=words) as refused:
        read_access(web_config(settings, token=file))
    assert not text or text not in str(refused.value).replace(file, "")


def test_files_that_are_missing(settings: Config, tmp_path: Path, token: str) -> None:
    """Each message names the file."""
    missing = str(tmp_path / "missing")
    with pytest.raises(ConfigError, match=r"cannot read the token .*missing: No such file"):
        read_access(web_config(settings, token=missing))
    with pytest.raises(ConfigError, match="no file with a token"):
        read_access(web_config(settings, token=str(tmp_path)))
    with pytest.raises(ConfigError, match=r"cannot read .*missing.*web\.certificate"):
        read_access(web_config(settings, token=token, certificate=missing, private_key=missing))
    with pytest.raises(ConfigError, match="belong together"):
        read_access(web_config(settings, token=token, certificate=missing))


def test_certificates_that_are_none(settings: Config, token: str, pair: tuple[str, str]) -> None:
    """Not PEM, or key and certificate in each other's place."""
    for certificate, key in ((token, token), pair[::-1]):
        with pytest.raises(ConfigError, match="no certificate"):
            read_access(web_config(settings, certificate=certificate, private_key=key))


def access_of(settings: Config, token: str, **options: object) -> WebAccess:
    """Return the access of settings where anything beyond this machine is allowed."""
    config = override_config(web_config(settings, token=token, **options), "security", insecure=True)
    return read_access(config)


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8080", "127.0.0.1:80", "127.9.9.9", "[::1]:80", "[::1]"])
def test_names_of_this_machine(settings: Config, token: str, host: str) -> None:
    """Loopback by any of its names."""
    assert access_of(settings, token).knows_host(host)


@pytest.mark.parametrize("host", ["", "evil.example", "localhost.evil.example", "192.168.1.5", "[fe80::1]", "[", ":80"])
def test_foreign_names(settings: Config, token: str, host: str) -> None:
    """A name that was made to lead here (DNS rebinding) is not served."""
    assert not access_of(settings, token).knows_host(host)


def test_names_beyond_this_machine(settings: Config, token: str) -> None:
    """By an address, by a name that was given, and by no other."""
    access = access_of(settings, token, address="0.0.0.0:0", hosts="ward.example, Ward-2")
    assert all(access.knows_host(host) for host in ("10.0.0.7:80", "ward.example:443", "ward-2"))
    assert not access.knows_host("evil.example")


def test_the_token_is_compared_whole(settings: Config, token: str) -> None:
    """Neither a part of it nor nothing is it, and without a token nothing is."""
    access = access_of(settings, token)
    assert access.is_token(TOKEN)
    assert not any(access.is_token(text) for text in ("", TOKEN[:-1], TOKEN + "x", TOKEN.upper(), "\ud800"))
    assert not access_of(settings, "").is_token("")
