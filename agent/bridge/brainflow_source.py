"""Boards that BrainFlow reads, as sources: `brainflow:BOARD?serial_port=/dev/ttyUSB0`.

Stamps of BrainFlow come in bursts, so losses are told by the board's package counter; time-outs and reconnection are
ours.
"""

import contextlib
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import numpy as np

from agent.bridge.loss_finder import LossFinder, SampleCounter, SampleIntake
from agent.bridge.sensor_source import LostSourceError, SourceLayout, SourceReading, source_lead
from agent.bridge.source_options import CountSize, SourceOptions
from agent.core.messages import quantise_to_counts
from agent.wire.packets import LARGEST_NAME_BYTES, MOST_LEADS
from agent.wire.record_chunks import number_repeated_name
from model.errors import ConfigError, SourceError
from model.extras import import_extra
from model.text import make_printable

SILENT_S = 5.0
"""A board that has sent, and is silent for this time, is opened again."""
PLAYED_S = 2.0
"""A recording that is played back is over after this silence."""
BUFFER_S = 120
"""Seconds that BrainFlow keeps while nobody reads."""
BOARD_SUFFIX = "_BOARD"
ECG_KEY, OTHER_KEYS = "ecg_channels", ("exg_channels", "emg_channels", "eeg_channels")
WAYS_OUT = {
    "UNABLE_TO_OPEN_PORT_ERROR": "its port cannot be opened: is it the right one, plugged in, and free?",
    "INVALID_ARGUMENTS_ERROR": "it needs a parameter, such as ?serial_port=/dev/ttyUSB0 or ?mac_address=…",
    "BOARD_NOT_READY_ERROR": "it does not answer: is it switched on, near, and used by nobody else?",
    "BOARD_WRITE_ERROR": "it does not answer: is it switched on, near, and used by nobody else?",
    "ANOTHER_BOARD_IS_CREATED_ERROR": "another session has it",
}


class BrainflowSource:
    """One board; `place`: its name and parameters, as in a URL."""

    def __init__(self, place: str, options: SourceOptions, now: Callable[[], float] = time.monotonic) -> None:
        board, _, self._query = place.partition("?")
        self._wanted = board.strip()
        self.name = f"BrainFlow {self._wanted or 'board'}"
        self._options, self._now = options, now
        self._shim: Any = None
        self._board: Any = None
        self._channels: list[int] = []
        self._rows: dict[str, int] = {}
        self._steps = 1.0
        self._layout: SourceLayout | None = None
        self._intake: SampleIntake | None = None
        self._announced = self._plays_back = self._played = False
        self._heard_s: float | None = None
        self._battery: float | None = None

    @property
    def is_over(self) -> bool:
        """Whether a recording that is played back has ended."""
        return self._played

    def open(self) -> None:
        """Start the board. Raises SourceError, and ConfigError for a board or parameter that does not exist."""
        shim = self._shim = self._shim or _import_brainflow()
        board_id = _find_board(shim, self._wanted)
        parameters = _read_parameters(shim, self._query)
        described = parameters.master_board if parameters.master_board != shim.BoardIds.NO_BOARD else board_id
        try:
            self._describe_board(shim.BoardShim.get_board_descr(described))
            self._board = shim.BoardShim(board_id, parameters)
            self._board.prepare_session()
            self._board.start_stream(max(1, round(BUFFER_S * self._rate())))
        except shim.BrainFlowError as error:
            self.close()
            reason = shim.BrainFlowExitCodes(error.exit_code).name
            raise SourceError(f"{self.name} cannot be started: {WAYS_OUT.get(reason, reason)}") from error
        self._plays_back = board_id == shim.BoardIds.PLAYBACK_FILE_BOARD
        self._announced = False
        self._heard_s = None

    def read(self, timeout_s: float) -> SourceLayout | SourceReading | None:
        """Return what comes next, as `SensorSource` says."""
        if not self._announced:
            self._announced = True
            return self._layout
        assert self._intake is not None
        if (reading := self._intake.take()) is not None:
            return reading
        try:
            data = self._board.get_board_data()
            if not data.shape[1] and timeout_s:
                time.sleep(timeout_s)
                data = self._board.get_board_data()
        except self._shim.BrainFlowError as error:
            raise LostSourceError(f"{self.name} is gone ({error})") from error
        self._take_data(data)
        return self._intake.take()

    def close(self) -> None:
        """Stop the board and let it go."""
        board, self._board = self._board, None
        if board is not None:
            for step in (board.stop_stream, board.release_session):
                with contextlib.suppress(self._shim.BrainFlowError):
                    step()

    def remark(self) -> str:
        """Say the state of the battery where the board knows it, and how losses are known."""
        if self._intake is None:
            return ""
        losses = "losses by package number" if self._intake.finder.counted else "losses inferred from time stamps"
        return losses if self._battery is None else f"battery {self._battery:.0f} %, {losses}"

    def _rate(self) -> float:
        assert self._layout is not None
        return self._layout.fs

    def _describe_board(self, description: dict[str, Any]) -> None:
        """Make the layout of a board, and how its data are read. Raises SourceError where it has no ECG."""
        self.name = f"BrainFlow {make_printable(str(description.get('name', self._wanted)))}"
        self._channels = self._choose_channels(description)
        self._rows = {
            key: description[f"{key}_channel"]
            for key in ("package_num", "timestamp", "battery")
            if f"{key}_channel" in description
        }
        size = self._options.unit or CountSize("uV")
        self._steps = size.steps(whole=False)
        names: list[str] = []
        for at in range(len(self._channels)):
            given = self._options.names[at] if at < len(self._options.names) else f"ECG{at + 1}"
            names.append(number_repeated_name(make_printable(given, LARGEST_NAME_BYTES - 4) or f"ECG{at + 1}", names))
        fs = self._options.fs or float(description["sampling_rate"])
        leads = tuple(source_lead(name, size.unit, size.gain(whole=False)) for name in names)
        self._layout = SourceLayout(fs, leads)
        counter = SampleCounter() if "package_num" in self._rows else None
        self._intake = SampleIntake(LossFinder(fs, counter), len(leads))

    def _choose_channels(self, description: dict[str, Any]) -> list[int]:
        """Return the rows of the leads: ECG channels, or those of --columns among what else the board has."""
        key = next((key for key in (ECG_KEY, *OTHER_KEYS) if description.get(key)), None)
        if key is None:
            raise SourceError(f"{self.name} has no channels for an ECG: choose another board")
        rows, kind = list(description[key]), key.partition("_")[0].upper()
        if self._options.columns:
            if max(self._options.columns) > len(rows):
                raise SourceError(
                    f"{self.name} has {len(rows)} {kind} channels: there is no {max(self._options.columns)} (--columns)"
                )
            rows = [rows[column - 1] for column in self._options.columns]
        elif key != ECG_KEY:
            raise SourceError(
                f"{self.name} has no ECG channels, but {len(rows)} for {kind}: where the electrodes of an ECG are on "
                "some of them, say on which with --columns 1,2"
            )
        if len(rows) > MOST_LEADS:
            raise SourceError(f"{self.name} has {len(rows)} channels: choose up to {MOST_LEADS} with --columns 1,2")
        return rows

    def _take_data(self, data: Any) -> None:
        assert self._intake is not None
        now_s = self._now()
        arrived = data.shape[1]
        if arrived:
            self._heard_s = now_s
            if "battery" in self._rows:
                self._battery = float(data[self._rows["battery"], -1])
        elif self._heard_s is not None:
            silent_s = now_s - self._heard_s
            self._played = self._plays_back and silent_s > PLAYED_S
            if silent_s > SILENT_S and not self._plays_back:
                raise LostSourceError(f"{self.name} sends nothing for {SILENT_S:g} s")
        counts = quantise_to_counts(data[self._channels].T, np.full(len(self._channels), self._steps))
        stamps = data[self._rows["timestamp"]] if "timestamp" in self._rows else np.full(arrived, now_s)
        numbers = data[self._rows["package_num"]] if "package_num" in self._rows else None
        self._intake.add(counts, stamps, numbers, now_s)


def _import_brainflow() -> Any:
    """Return brainflow.board_shim, which writes no log. Raises ConfigError where it, or its library, is not there."""
    shim = import_extra("brainflow.board_shim", "brainflow")
    if sys.version_info < (3, 12) and shim.__spec__.submodule_search_locations is None:
        # It looks for its library as if it was a package, which 3.11 refuses; else in pkg_resources, which is no more
        shim.__spec__.submodule_search_locations = [str(Path(shim.__file__).parent)]
    try:
        shim.BoardShim.disable_board_logger()
    except (ImportError, OSError, NotImplementedError) as error:
        raise ConfigError(
            f"brainflow cannot load its library ({error}): on Linux its wheels are for x86-64 only"
        ) from error
    return shim


def _find_board(shim: Any, wanted: str) -> int:
    """Return the id of a board by its name or number. Raises ConfigError."""
    names = {board.name: int(board) for board in shim.BoardIds if board != shim.BoardIds.NO_BOARD}
    name = wanted.upper().replace("-", "_")
    for candidate in (name, name + BOARD_SUFFIX):
        if candidate in names:
            return names[candidate]
    if wanted.lstrip("-").isdigit() and int(wanted) in names.values():
        return int(wanted)
    alike = [board for board in names if name and name.partition("_")[0] in board]
    listed = [board.removesuffix(BOARD_SUFFIX).lower() for board in alike or _boards_for_ecg(shim)]
    raise ConfigError(f"no board {wanted!r}: choose one of {', '.join(listed)}, as brainflow:{listed[0]}")


def _boards_for_ecg(shim: Any) -> list[str]:
    """Return the names of the boards that have channels for an ECG."""
    names = []
    for board in shim.BoardIds:
        with contextlib.suppress(shim.BrainFlowError):  # not all describe themselves
            if shim.BoardShim.get_board_descr(board).get(ECG_KEY):
                names.append(board.name)
    return names


def _read_parameters(shim: Any, query: str) -> Any:
    """Return the parameters of a session, as "serial_port=/dev/ttyUSB0&timeout=5" names them. Raises ConfigError."""
    parameters = shim.BrainFlowInputParams()
    known = vars(parameters)
    for key, value in parse_qsl(query, keep_blank_values=True):
        if key not in known:
            raise ConfigError(f"no parameter {key!r} of BrainFlow: there are {', '.join(sorted(known))}")
        if key == "master_board":
            setattr(parameters, key, _find_board(shim, value))
        elif isinstance(known[key], int):
            if not value.isascii() or not value.isdigit():
                raise ConfigError(f"parameter {key} of BrainFlow is a number, not {value!r}")
            setattr(parameters, key, int(value))
        else:
            setattr(parameters, key, value)
    return parameters
