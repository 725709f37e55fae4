"""Ray for the time of a command: started on this machine, or joined where it is."""

import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

from model.errors import ConfigError, EndpointError, clean_error_text
from model.extras import import_extra

LOCAL = "local"
"""The address that starts Ray on this machine."""
AUTO = "auto"
"""The address of the Ray that this machine is a host of."""
ADDRESS_FORM = re.compile(r"(?:[\w.-]+|\[[0-9a-fA-F:.]+\]):\d{1,5}")
STORE_BYTES = 80 * 2**20
"""Memory of the object store, through which only summaries go."""
ANSWER_S, JOIN_S = 5.0, 60.0
"""How long an address may take to accept a connection, to answer as gRPC does, and then a busy machine to join it."""
HTTP2_START = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
"""What a gRPC client sends first (RFC 9113, 3.4); the server answers with a frame of its settings, of type 4."""
SHORT_FOLDER = Path("/tmp")
"""Where Ray's own files go: its sockets allow only 100 bytes, which $TMPDIR of macOS alone would nearly take."""
PATIENT = {"health_check_failure_threshold": 60}
"""A machine that is busy is not taken for dead: there is no other to go to."""
QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_DEDUP_LOGS": "0", "RAY_DISABLE_FAILURE_SIGNAL_HANDLER": "1"}
"""Without the last one Ray's C++ takes SIGTERM for a crash, from the middle of `ray.init` on, and aborts."""
JOINING = "import ray, sys; ray.init(sys.argv[1], log_to_driver=False, logging_level='CRITICAL')"
"""What another process tries first: Ray itself waits for more than a minute, and then ends the process."""


def is_cluster_address(text: str) -> bool:
    """Return whether a word can be the address of a cluster: HOST:PORT, auto or local."""
    return text in (LOCAL, AUTO) or ADDRESS_FORM.fullmatch(text) is not None


@contextmanager
def open_ray(address: str, cpus: int | None) -> Iterator[Any]:
    """Start Ray with so many CPUs (None: all), or join the cluster at an address; yield the module `ray`.

    What was started here ends with the context.

    Raises
    ------
    ConfigError
        If Ray is not installed, or `address` is none.
    EndpointError
        If no cluster answers there, this machine is not one of its hosts, or it is of another version.
    """
    if not is_cluster_address(address):
        raise ConfigError(f"{address!r} is no address of a cluster: give HOST:PORT or auto (--cluster)")
    with _environment(QUIET):
        if address != LOCAL:
            ray = import_extra("ray", "cluster")
            _check_cluster(address)
            with _ray_session(ray, address):
                yield ray
            return
        # A token that nobody else has: Ray listens on all interfaces, and does what it is told.
        with _environment({"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}), _ray_folder() as folder:
            ray = import_extra("ray", "cluster")
            own = {"num_cpus": cpus, "include_dashboard": False, "object_store_memory": STORE_BYTES}
            with _ray_session(ray, LOCAL, **own, _temp_dir=folder, _system_config=PATIENT):
                yield ray


@contextmanager
def _ray_session(ray: Any, address: str, **options: Any) -> Iterator[None]:
    """Initialise Ray for the time of the context; signals are handled as they were, and it prints nothing."""
    import_extra("ray._private.worker", "cluster").print_to_stdstream = _do_nothing
    import_extra("ray._private.utils", "cluster").set_sigterm_handler = _do_nothing
    try:
        with _kept_signals(waits=address == LOCAL):
            try:
                ray.init(address, log_to_driver=False, logging_level="CRITICAL", **options)
            except Exception as error:  # of whatever kind: Ray says why
                place = "on this machine" if address == LOCAL else f"at {address}"
                raise EndpointError(f"Ray does not start {place}: {clean_error_text(error)}") from error
        yield
    finally:
        with _kept_signals(waits=False):
            ray.shutdown()


@contextmanager
def _kept_signals(waits: bool) -> Iterator[None]:
    """Keep the handlers of Ctrl-C and SIGTERM over what Ray does to them.

    With `waits` the first signal waits until the context ends, for processes that Ray has half started would stay.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    waiting: list[int] = []

    def wait(number: int, _frame: FrameType | None) -> None:
        if waiting:
            waiting.clear()
            _handle_signals(handlers)
            signal.raise_signal(number)
        else:
            waiting.append(number)

    if waits:
        _handle_signals({number: wait for number, handler in handlers.items() if callable(handler)})
    try:
        yield
    finally:
        _handle_signals(handlers)
        if waiting:
            signal.raise_signal(waiting[0])


def _handle_signals(handlers: Mapping[signal.Signals, Any]) -> None:
    for number, handler in handlers.items():
        signal.signal(number, handler)


def _do_nothing(*_arguments: Any, **_options: Any) -> None:
    """Stand for what prints the deaths of workers to the standard output, where JSON goes, and what takes SIGTERM."""


@contextmanager
def _ray_folder() -> Iterator[str]:
    """Yield a folder for Ray's own files, named after this process, which is deleted at the end."""
    folder = tempfile.mkdtemp(
        prefix=f"ecg-agent-ray-{os.getpid()}-", dir=SHORT_FOLDER if SHORT_FOLDER.is_dir() else None
    )
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _environment(settings: dict[str, str]) -> Iterator[None]:
    """Set environment variables that nobody has set, for the time of the context: other processes inherit them."""
    added = {name: value for name, value in settings.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)


def _check_cluster(address: str) -> None:
    """Raise EndpointError if no cluster that we can use answers at an address."""
    if address != AUTO:
        host, _, port = address.rpartition(":")
        try:
            with socket.create_connection((host.strip("[]"), int(port)), ANSWER_S) as connection:
                answers = "RAY_USE_TLS" in os.environ or _answers_as_grpc(connection)
        except (OSError, ValueError, OverflowError) as error:
            raise EndpointError(f"no cluster answers at {address}: {clean_error_text(error)}") from error
        if not answers:
            raise EndpointError(f"what listens at {address} does not answer as a Ray cluster does")
    command = [sys.executable, "-c", JOINING, address]
    try:
        joined = subprocess.run(command, capture_output=True, text=True, timeout=JOIN_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise EndpointError(f"what listens at {address} does not answer as a Ray cluster does") from error
    if joined.returncode:
        raise EndpointError(explain_ray_refusal(address, joined.stderr))


def _answers_as_grpc(connection: socket.socket) -> bool:
    """Return whether a server answers a client's greeting as gRPC does, within ANSWER_S."""
    with suppress(OSError):
        connection.settimeout(ANSWER_S)
        connection.sendall(HTTP2_START)
        return connection.recv(9)[3:4] == HTTP2_START[-6:-5]
    return False


def explain_ray_refusal(address: str, text: str) -> str:
    """Return why Ray does not join, from the end of its traceback."""
    _, _, said = text.partition("Version mismatch: ")
    if said:
        theirs, _, ours = (clean_error_text(part) for part in said.partition("This process"))
        versions = [re.findall(r"(?:Ray|Python): (\S+)", part) for part in (theirs, ours)]
        (ray, python), (our_ray, our_python) = (found[:2] if len(found) > 1 else ("?", "?") for found in versions)
        return f"the cluster at {address} runs Ray {ray} on Python {python}, here is Ray {our_ray} on {our_python}"
    last = clean_error_text((text.strip().splitlines() or ["Ray says no reason"])[-1])
    if "Could not find any running Ray instance" in text:
        return f"this machine is a host of no cluster: start one with ray start --head, or give HOST:PORT ({address})"
    if re.search("Can't find a `node_ip_address.json`|raylet|Ray processes", text):
        if address == AUTO:
            reach = "a cluster that a command started without --cluster is its own, and ends with it"
            return f"this machine is a host of no cluster that others can join: {reach}; else give HOST:PORT"
        return f"this machine is no host of the cluster at {address}: ray start --address {address} ({last})"
    return f"cannot join the cluster at {address}: {last}"
