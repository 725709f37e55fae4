"""When ventricular fibrillation (VF) and tachycardia (VT) begin and end, by the scores of window after window.

The one rule of its kind: the alarms run it (`agent.alarms.vf_vt`), and the waveform classifier is evaluated with it, so
what is fitted is what runs. Its numbers are those of `[alarms]` in config.toml.

One window can be wrong, so each condition has a hysteresis: it begins once M of the latest N windows reach a high score
and ends some seconds after the last window that reached a lower one. VF and VT are easily taken for each other: their
summed probability counts for VT. While VF lasts, VT needs its own.
"""

import tomllib
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from model.records.resample import FS
from model.waveform.waveform_classifier import VF, VT

NEVER = -1
"""A sample before all others."""
CONFIG_FILE = Path(__file__).parents[2] / "config.toml"
"""The settings of a checkout; the waveform classifier is trained in one."""


@dataclass(frozen=True, slots=True)
class VfVtSettings:
    """The keys of `[alarms]` that decide on VF and VT; config.toml says what each means."""

    waveform_onset_s: float
    vf_score: float
    vf_windows: int
    vf_of_windows: int
    vf_end_score: float
    vf_end_s: float
    vt_score: float
    vt_windows: int
    vt_of_windows: int
    vt_end_score: float
    vt_end_s: float
    vt_bpm: float
    noise_override_score: float


class ScoreHysteresis:
    """One condition, which `windows` of the latest `of_windows` begin by scoring `begin_score`.

    It is believed for `end_s` after each window that scores `end_score`, through sample `until` (125 Hz).
    """

    __slots__ = ("_end_samples", "_high", "_of_windows", "_windows", "begin_score", "end_score", "until")

    def __init__(self, begin_score: float, windows: int, of_windows: int, end_score: float, end_s: float) -> None:
        self.begin_score, self.end_score = begin_score, min(begin_score, end_score)
        self._windows, self._of_windows = windows, of_windows
        self._end_samples = round(end_s * FS)
        self._high: deque[tuple[int, int]] = deque(maxlen=windows)
        """Number and sample of the latest windows that scored `begin_score`."""
        self.until = NEVER

    def push(self, score: float, least_score: float, number: int, sample: int) -> bool:
        """Return whether the condition is there after window `number`, which ends before `sample`.

        A score below `least_score` begins nothing, but it may let the condition go on.
        """
        present = self.until >= sample and score >= self.end_score
        if score >= max(self.begin_score, least_score):
            self._high.append((number, sample))
            present |= len(self._high) == self._windows and number - self._high[0][0] < self._of_windows
        if present:
            self.until = sample + self._end_samples
        return present

    def first_high(self, sample: int) -> int:
        """Return the sample of the first window that counts for the begin; `sample` itself if there is none."""
        return self._high[0][1] if self._high else sample

    def interrupt(self) -> None:
        """Let no window from before count for a begin; a condition that is there may go on."""
        self._high.clear()


class VfVtHysteresis:
    """VF and VT of one lead, window after window."""

    __slots__ = ("_number", "_settings", "fast", "fibrillating", "onset_lag", "vf", "vt")

    def __init__(self, settings: VfVtSettings) -> None:
        s = self._settings = settings
        self.vf = ScoreHysteresis(s.vf_score, s.vf_windows, s.vf_of_windows, s.vf_end_score, s.vf_end_s)
        self.vt = ScoreHysteresis(s.vt_score, s.vt_windows, s.vt_of_windows, s.vt_end_score, s.vt_end_s)
        self.onset_lag = round(s.waveform_onset_s * FS)
        """Samples from an onset to the end of the first window that shows it: most of a window has to be new."""
        self._number = 0
        self.fibrillating = self.fast = False
        """Whether the latest window alone reached the score of VF, and that of VT."""

    def start(self) -> None:
        """Begin a run: nothing of the one before counts."""
        self.interrupt()
        self.vf.until = self.vt.until = NEVER

    def interrupt(self) -> None:
        """Note a break in the signal: no window from before it counts for a begin."""
        self.vf.interrupt()
        self.vt.interrupt()
        self.fibrillating = self.fast = False

    def push(
        self, scores: Sequence[float], rate: float | None, sample: int, suspended: bool = False, vt_open: bool = False
    ) -> tuple[bool, bool]:
        """Take the next window and return whether VF, and whether VT, is there.

        Parameters
        ----------
        scores
            Probabilities (5,) in the order of `WAVEFORM_KINDS`; empty if the stretch is shorter than a window.
        rate
            Repetitions of the waveform per minute, None if it does not repeat.
        sample
            The sample (125 Hz) before which the window ends.
        suspended
            Whether noise suspends the other rules. Then only scores of at least `noise_override_score` begin anything.
        vt_open
            Whether VT is alarmed already. It begins only with a window that looks more like VT than like VF.
        """
        self._number += 1
        self.fibrillating = self.fast = False
        if not scores:
            return False, False
        vf_score, vt_score = scores[VF], scores[VT]
        either = vf_score + vt_score
        if vf_score < self.vf.end_score and either < self.vt.end_score:  # most windows end here
            return False, False
        least_score = self._settings.noise_override_score if suspended else 0.0
        self.fibrillating = vf_score >= self.vf.begin_score
        vf_present = self.vf.push(vf_score, least_score, self._number, sample)
        if rate is not None and rate < self._settings.vt_bpm:
            either = vf_score
        elif suspended or self.vf.until >= sample:  # VT that follows VF must look like VT
            either = vt_score
        self.fast = either >= self.vt.begin_score
        vt_present = self.vt.push(either, least_score, self._number, sample)
        return vf_present, vt_present and (vt_open or vt_score >= vf_score)


@dataclass(frozen=True, slots=True)
class DetectedEpisode:
    """From sample `onset` to before `end`, the last window that showed it; announced at sample `alarm` (125 Hz).

    An episode that lasts to the end of the signal ends there.
    """

    onset: int
    alarm: int
    end: int


@dataclass(slots=True)
class _PresentEpisode:
    """An episode believed through sample `until`; `alarm` is None while a VF hides a VT that has not been announced."""

    onset: int
    until: int
    alarm: int | None = None


def read_vf_vt_settings(path: Path = CONFIG_FILE) -> VfVtSettings:
    """Read the settings from `[alarms]` of a TOML file."""
    return msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8"))["alarms"], VfVtSettings)


def detect_episodes(
    settings: VfVtSettings, ends: Sequence[int], scores: Sequence[Sequence[float]], rates: Sequence[float]
) -> dict[str, list[DetectedEpisode]]:
    """Return the episodes "VF" and "VT" that the alarms would announce in an unbroken signal without noise or beats.

    Parameters
    ----------
    ends
        (n,) samples at 125 Hz before which the windows end, in order.
    scores
        (n, 5) probabilities in the order of `WAVEFORM_KINDS`.
    rates
        (n,) repetitions per minute, 0 if the waveform does not repeat.
    """
    rule = VfVtHysteresis(settings)
    by_kind = {"VF": rule.vf, "VT": rule.vt}
    episodes: dict[str, list[DetectedEpisode]] = {kind: [] for kind in by_kind}
    present: dict[str, _PresentEpisode] = {}
    lasting = {"VF": round(settings.vf_end_s * FS), "VT": round(settings.vt_end_s * FS)}
    for sample, window, rate in zip(ends, scores, rates, strict=True):
        for kind in [kind for kind, episode in present.items() if episode.until < sample]:
            over = present.pop(kind)
            if over.alarm is not None:
                episodes[kind].append(DetectedEpisode(over.onset, over.alarm, over.until - lasting[kind]))
        vt_open = "VT" in present and present["VT"].alarm is not None
        for kind, shown in zip(by_kind, rule.push(window, rate or None, sample, vt_open=vt_open), strict=True):
            if shown:
                onset = max(0, by_kind[kind].first_high(sample) - rule.onset_lag)
                present.setdefault(kind, _PresentEpisode(onset, 0)).until = by_kind[kind].until
        for kind, episode in present.items():
            if episode.alarm is None and (kind == "VF" or "VF" not in present):
                episode.alarm = sample
                if episodes[kind]:  # as the alarms do: an onset lies behind the alarm before it
                    before = episodes[kind][-1]
                    episode.onset = max(episode.onset, before.end + lasting[kind], before.onset + 1)
    for kind, episode in present.items():
        if episode.alarm is not None:
            episodes[kind].append(DetectedEpisode(episode.onset, episode.alarm, ends[-1]))
    return episodes
