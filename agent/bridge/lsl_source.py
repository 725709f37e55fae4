"""Streams of the Lab Streaming Layer as sources: `lsl`, `lsl:NAME`.

LSL hides restarts and numbers no samples. So its own recovery is off: a stream that was lost is opened again here, by
its uid another start is another run, and losses are inferred from time stamps, or from a channel that counts.
"""

import contextlib
import os
import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.bridge.loss_finder import LossFinder, SampleCounter, SampleIntake
from agent.bridge.sensor_source import LostSourceError, SourceLayout, SourceReading, source_lead
from agent.bridge.source_options import UNCALIBRATED, CountSize, SourceOptions
from agent.core.lead_units import UNITS_MV
from agent.core.messages import quantise_to_counts
from agent.wire.packets import LARGEST_NAME_BYTES, MOST_LEADS
from agent.wire.record_chunks import number_repeated_name
from model.errors import ConfigError, SourceError, clean_error_text
from model.extras import import_extra
from model.records.resample import HIGHEST_RESAMPLING_FS, LEAST_RESAMPLING_FS
from model.text import make_printable

ECG_TYPES = {"ecg", "ekg", "exg"}
FIRST_LOOK_S, LATER_LOOK_S, LONGEST_LOOK_S = 1.0, 1.5, 3.0
"""How long other streams that fit are waited for; the same for a stream that was lost; and for any to be there."""
LOOK_AGAIN_S = 0.05
FORGET_S = 2.0
"""How long a stream that no longer answers is still listed."""
CONNECT_S = 3.0
SILENT_S = 2.0
"""After so long without a sample another start of the stream is looked for: a host may vanish without a word."""
KEPT_S = 360
"""Seconds that LSL keeps while nobody reads."""
PULLED_SAMPLES = 4096
MOST_LISTED = 8
UNIT_SPELLINGS = {1e3: "V", 1.0: "mV", 1e-3: "uV", 1e-6: "nV"}
"""How the units of any spelling are called on."""
COUNTER_LABEL = re.compile(r"counter|sample[ _-]?(nr|num|number|index|id)|packet[ _-]?(nr|num|number|index|id)", re.I)
CONFIG_FILES = ("lsl_api.cfg", "~/lsl_api/lsl_api.cfg", "/etc/lsl_api/lsl_api.cfg")
"""Where liblsl looks for settings, after the environment variable LSLAPICFG."""
QUIET = "[log]\nlevel = -3\n"
"""Fatal errors only: the library writes its log on our screen."""
NO_LIBRARY = (
    "pylsl is here without liblsl, its library (so on ARM Linux, such as a Raspberry Pi): pip install mne-lsl, whose "
    "wheel has one, and set PYLSL_LIB to the liblsl file in its folder, or build it from github.com/sccn/liblsl"
)


class LslSource:
    """One stream of LSL; `place`: its name, source id, uid or type, "" for the only one of type ECG or ExG."""

    is_over = False

    def __init__(self, place: str, options: SourceOptions, now: Callable[[], float] = time.monotonic) -> None:
        self.name = f"LSL stream {place}" if place else "LSL"
        self._place, self._options, self._now = place, options, now
        self._lsl: Any = None
        self._inlet: Any = None
        self._resolver: Any = None
        self._chosen: tuple[str, str, str] | None = None
        """Name, source id and host of the stream, once it was found."""
        self._uid = ""
        self._layout: SourceLayout | None = None
        self._announced = False
        self._columns: list[int] = []
        self._counter: int | None = None
        self._steps = 1.0
        self._intake: SampleIntake | None = None
        self._pulled: NDArray[Any] = np.empty((0, 0))
        self._heard_s = 0.0

    def open(self) -> None:
        """Find the stream and connect. Raises SourceError, and ConfigError where pylsl or its library is missing."""
        self._lsl = self._lsl or _import_pylsl()
        found = self._find_stream()
        try:
            inlet = self._lsl.StreamInlet(found, KEPT_S, 0, False)
            info = inlet.info(CONNECT_S)
            restarted = info.uid() != self._uid
            if restarted:
                self._describe_stream(info)
            inlet.open_stream(CONNECT_S)
        except RuntimeError as error:  # all errors of pylsl
            raise SourceError(
                f"LSL stream {found.name()!r} is seen but cannot be opened ({clean_error_text(error)}): does a "
                "firewall close its TCP port, 16572 to 16604?"
            ) from error
        self._chosen = (info.name(), info.source_id(), info.hostname())
        self.name = f"LSL stream {make_printable(info.name())}"
        self._uid = info.uid()
        self._inlet = inlet
        self._announced = False
        self._heard_s = self._now()

    def read(self, timeout_s: float) -> SourceLayout | SourceReading | None:
        """Return what comes next, as `SensorSource` says."""
        if not self._announced:
            self._announced = True
            return self._layout
        assert self._intake is not None
        if (reading := self._intake.take()) is not None:
            return reading
        if not timeout_s:
            return None
        time.sleep(timeout_s)  # liblsl's own waiting would wake up for every sample
        try:
            _, stamps = self._inlet.pull_chunk(0.0, len(self._pulled), dest_obj=self._pulled)
        except RuntimeError as error:
            raise LostSourceError(f"{self.name} is gone ({clean_error_text(error)})") from error
        self._take_samples(self._pulled[: len(stamps)], np.asarray(stamps, np.float64))
        if not stamps:
            self._look_for_restart()
        return self._intake.take()

    def close(self) -> None:
        """Close it."""
        self._inlet = self._resolver = None

    def remark(self) -> str:
        """Say how losses are known."""
        if self._intake is None:
            return ""
        return "losses by the stream's counter" if self._intake.finder.counted else "losses inferred from time stamps"

    def _find_stream(self) -> Any:
        """Return the stream that is meant, once it is seen. Raises SourceError."""
        # One-shot look-ups of liblsl take five seconds longer where nothing is there; this one goes on between calls
        self._resolver = self._resolver or self._lsl.ContinuousResolver(forget_after=FORGET_S)
        until_s = self._now() + (FIRST_LOOK_S if self._chosen is None else LATER_LOOK_S)
        last_s = self._now() + LONGEST_LOOK_S
        while True:
            streams = self._resolver.results()
            fitting = [stream for stream in streams if self._fits(stream)]
            same = [stream for stream in fitting if _identify_outlet(stream) == self._chosen]
            over = self._now() >= (until_s if fitting or self._chosen else last_s)
            if same or (over and len(fitting) == 1):
                self._resolver = None
                return max(same or fitting, key=lambda stream: float(stream.created_at()))
            if over:
                raise SourceError(self._explain_choice(fitting, streams))
            time.sleep(LOOK_AGAIN_S)

    def _explain_choice(self, fitting: Sequence[Any], streams: Sequence[Any]) -> str:
        """Say why no stream is chosen, and how to choose one."""
        if fitting:
            example = make_printable(fitting[0].source_id() or fitting[0].name())
            return (
                f"{len(fitting)} LSL streams fit: {_list_streams(fitting)}: choose one by name or source id, such as "
                f"'lsl:{example}'"
            )
        wanted = f"no LSL stream {self._place!r}" if self._place else "no LSL stream of type ECG or ExG"
        if streams:
            return f"{wanted} is there, but {_list_streams(streams)}: choose one with 'lsl:NAME'"
        return f"{wanted} is there: is the program that sends it started, in this network, with UDP port 16571 open?"

    def _fits(self, stream: Any) -> bool:
        if self._place:
            return self._place in (stream.name(), stream.source_id(), stream.uid(), stream.type())
        return stream.type().casefold() in ECG_TYPES

    def _describe_stream(self, info: Any) -> None:
        """Make the layout of another start of the stream. Raises SourceError for one that can be no ECG."""
        shown = f"LSL stream {info.name()!r}"
        if info.channel_format() == self._lsl.cf_string:
            raise SourceError(f"{shown} sends text, such as markers, not samples: choose another one with 'lsl:NAME'")
        fs = self._options.fs or info.nominal_srate()
        if not fs:
            raise SourceError(f"{shown} has no fixed rate: where its samples come regularly, say theirs with --fs")
        if not LEAST_RESAMPLING_FS <= fs <= HIGHEST_RESAMPLING_FS:
            raise SourceError(f"{shown} has {fs:g} samples a second, too few or too many for an ECG")
        channels = _read_channels(info)
        self._counter = next((i for i, (label, _, _) in enumerate(channels) if COUNTER_LABEL.search(label)), None)
        self._columns = self._choose_columns(shown, channels)
        whole = info.channel_format() not in (self._lsl.cf_float32, self._lsl.cf_double64)
        told = channels[self._columns[0]][1]
        size = self._options.unit or CountSize(told if told in UNITS_MV else UNCALIBRATED)
        self._steps = size.steps(whole)
        names: list[str] = []
        for at, column in enumerate(self._columns):
            given = self._options.names[at] if at < len(self._options.names) else channels[column][0]
            name = make_printable(given, LARGEST_NAME_BYTES - 4)
            names.append(number_repeated_name(name or ("ECG" if len(self._columns) == 1 else f"ECG{at + 1}"), names))
        leads = tuple(source_lead(name, size.unit, size.gain(whole)) for name in names)
        self._layout = SourceLayout(fs, leads, info.uid())
        self._intake = SampleIntake(LossFinder(fs, SampleCounter() if self._counter is not None else None), len(leads))
        kind = np.dtype(self._lsl.lib.fmt2type[info.channel_format()])
        self._pulled = np.empty((PULLED_SAMPLES, info.channel_count()), kind)

    def _choose_columns(self, shown: str, channels: Sequence[tuple[str, str, str]]) -> list[int]:
        """Return the channels to send: those asked for, those that are called an ECG, or all that have its unit."""
        columns = [column - 1 for column in self._options.columns]
        if columns and max(columns) >= len(channels):
            raise SourceError(f"{shown} has {len(channels)} channels: there is no {max(columns) + 1} (--columns)")
        others = [at for at in range(len(channels)) if at != self._counter]
        if not columns:
            columns = [at for at in others if channels[at][2].casefold() in ECG_TYPES] or others
        units = {channels[at][1] for at in columns}
        if not self._options.columns and len(units) > 1:
            columns = [at for at in columns if channels[at][1] in UNITS_MV] or columns
            units = {channels[at][1] for at in columns}
        if not columns or len(columns) > MOST_LEADS or (len(units) > 1 and self._options.unit is None):
            listed = ", ".join(
                f"{i + 1} {label or '?'} ({unit or 'no unit'})" for i, (label, unit, _) in enumerate(channels)
            )
            raise SourceError(
                f"{shown} has {len(channels)} channels: choose up to {MOST_LEADS} of one unit, as --columns 1,2: "
                f"{listed}"
            )
        return columns

    def _take_samples(self, values: NDArray[Any], stamps: NDArray[np.float64]) -> None:
        assert self._intake is not None
        now_s = self._now()
        if len(stamps):
            self._heard_s = now_s
            self._resolver = None
        chosen = values[:, self._columns].astype(np.float64)
        rows = quantise_to_counts(chosen, np.full(len(self._columns), self._steps))
        numbers = None if self._counter is None else values[:, self._counter].astype(np.float64)
        self._intake.add(rows, stamps, numbers, now_s)

    def _look_for_restart(self) -> None:
        """While nothing comes, look whether the stream was started again: a host that was switched off says nothing.

        Raises LostSourceError.
        """
        if self._now() - self._heard_s < SILENT_S:
            return
        if self._resolver is None:
            self._resolver = self._lsl.ContinuousResolver(forget_after=FORGET_S)
        for stream in self._resolver.results():
            if _identify_outlet(stream) == self._chosen and stream.uid() != self._uid:
                raise LostSourceError(f"{self.name} was started again")


def _import_pylsl() -> Any:
    """Return pylsl, which writes no log. Raises ConfigError where it, or its library, is not there."""
    try:
        lsl = import_extra("pylsl", "lsl")
    except ConfigError as error:
        if isinstance(error.__cause__, ModuleNotFoundError):
            raise
        raise ConfigError(NO_LIBRARY) from error
    # The first answer of the library reads its settings; those of the user's own file stay
    if not any(
        Path(place).expanduser().is_file() for place in (os.environ.get("LSLAPICFG", ""), *CONFIG_FILES) if place
    ):
        with contextlib.suppress(AttributeError, NotImplementedError):  # before 1.17.7
            lsl.util.set_config_content(QUIET)
    return lsl


def _identify_outlet(stream: Any) -> tuple[str, str, str]:
    return stream.name(), stream.source_id(), stream.hostname()


def _list_streams(streams: Sequence[Any]) -> str:
    listed = [
        f"{stream.name()!r} ({stream.type() or 'no type'}, {stream.channel_count()} channels, "
        f"{stream.nominal_srate():g} Hz, id {stream.source_id() or stream.uid()} on {stream.hostname()})"
        for stream in streams[:MOST_LISTED]
    ]
    return ", ".join(listed) + (f" and {len(streams) - MOST_LISTED} more" if len(streams) > MOST_LISTED else "")


def _read_channels(info: Any) -> list[tuple[str, str, str]]:
    """Return label, unit and type of each channel, as far as the stream describes them."""
    described: list[tuple[str, str, str]] = []
    node = info.desc().child("channels").child("channel")
    while not node.empty():
        unit = node.child_value("unit").strip()
        if (size_mv := UNITS_MV.get(unit, UNITS_MV.get(unit.casefold()))) is not None:
            unit = UNIT_SPELLINGS[size_mv]
        described.append((node.child_value("label").strip(), unit, node.child_value("type").strip()))
        node = node.next_sibling("channel")
    count = info.channel_count()
    return described[:count] + [("", "", "")] * (count - len(described))
