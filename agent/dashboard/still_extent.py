"""Still pictures: a frozen bed or a strip, which part of it is on the screen, and how far it goes on."""

from dataclasses import dataclass, replace

import numpy as np

from agent.core.look_back import AlarmStrip, SignalPiece
from agent.core.messages import Beat
from agent.core.views import BedView, WardSnapshot
from agent.dashboard.frozen_picture import pictured_bed
from agent.dashboard.looking import LookingBack
from agent.dashboard.view import DashboardView, chosen_bed, is_overview, seconds_across
from model.records.resample import FS

STILL_BLOCK = 30 * FS
"""Recorded signal is asked for in blocks of two of these: a little further, and it is there already."""


@dataclass(frozen=True, slots=True, eq=False)
class StillExtent:
    """A still picture: the `piece` in memory, `length` samples of it on the screen, and from where to where it goes.

    `oldest` the first sample that may be shown, `newest` the one after the last. `end`: the one after the last that is
    shown as long as nobody looks back.
    """

    piece: SignalPiece
    length: int
    oldest: int
    newest: int

    @property
    def end(self) -> int:
        """The sample after the last of what is shown at first."""
        return self.piece.stop


def is_still(view: DashboardView, shown: WardSnapshot) -> bool:
    """Return whether a still picture of one bed is on the screen."""
    return view.page == "strip" or (view.page == "beds" and view.frozen is not None and not is_overview(view, shown))


def still_extent(view: DashboardView, shown: WardSnapshot) -> StillExtent | None:
    """Return the still picture that is on the screen, None if there is none."""
    if not is_still(view, shown):
        return None
    name = chosen_bed(view)
    bed = next((bed for bed in shown.beds if bed.bed == name), None)
    if view.page == "strip":
        strip = shown.past.strip if shown.past else None
        return strip_extent(strip, view.looking, bed, shown.recording is not None) if strip else None
    return bed_extent(pictured_bed(view, bed), seconds_across(view), shown.recording is not None) if bed else None


def bed_extent(bed: BedView, seconds: int, is_recorded: bool) -> StillExtent:
    """Return a frozen bed as a still picture: what is held of it, or its whole run if that is recorded."""
    piece = bed_piece(bed)
    return StillExtent(piece, seconds * FS, 0 if is_recorded else piece.first, bed.head)


def strip_extent(strip: AlarmStrip, looking: LookingBack, bed: BedView | None, is_recorded: bool) -> StillExtent:
    """Return a strip as a still picture; with a recording it goes on before and after."""
    piece, length = strip.piece, looking.strip_seconds * FS
    if not is_recorded:
        return StillExtent(piece, length, piece.first, piece.stop)
    newest = bed.head if bed and bed.run == piece.run else piece.stop
    return StillExtent(piece, length, 0, max(newest, piece.stop))


def bed_piece(bed: BedView) -> SignalPiece:
    """Return what is held of the heard lead of a bed as a piece of signal."""
    first = bed.head - len(bed.wave)
    first_s = None if bed.head_s is None else bed.head_s - len(bed.wave) / FS
    return SignalPiece(bed.bed, bed.run, bed.lead, first, bed.wave, bed.beats, first_s, bed.uncalibrated)


def still_range(extent: StillExtent, looking: LookingBack) -> tuple[int, int]:
    """Return the first sample on the screen, and the one after the last."""
    stop = extent.end - looking.back
    return stop - extent.length, stop


def recorded_block(extent: StillExtent, looking: LookingBack) -> tuple[str, int, int] | None:
    """Return which part of the recording the screen needs: run, first sample, samples; None if none."""
    first, stop = still_range(extent, looking)
    first, stop = max(first, extent.oldest), min(stop, extent.newest)
    if extent.oldest == extent.piece.first or (extent.piece.first <= first and stop <= extent.piece.stop):
        return None
    begin = first // STILL_BLOCK * STILL_BLOCK
    count = -(-(stop - begin) // STILL_BLOCK) * STILL_BLOCK
    return extent.piece.run, begin, count


def still_piece(extent: StillExtent, looking: LookingBack, recorded: SignalPiece | None) -> SignalPiece:
    """Return what is on the screen: from memory, and where that does not reach, from the recording."""
    first, stop = still_range(extent, looking)
    piece = extent.piece
    wave = np.full(stop - first, np.nan, np.float32)
    beats: dict[int, Beat] = {}
    for source in (recorded, piece):
        if source is None or source.run != piece.run:
            continue
        begin, end = max(first, source.first), min(stop, source.stop)
        if end > begin:
            part = source.wave[begin - source.first : end - source.first]
            known = ~np.isnan(part)
            wave[begin - first : end - first][known] = part[known]
        beats |= {beat.sample: beat for beat in source.beats if first <= beat.sample < stop}
    first_s = None if piece.first_s is None else piece.first_s + (first - piece.first) / FS
    shown = tuple(beats[sample] for sample in sorted(beats))
    return replace(piece, first=first, wave=wave, beats=shown, first_s=first_s)
