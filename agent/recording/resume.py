"""What a monitor hears again when it goes on with a recording: the last of each bed, so as to know its patient."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from agent.core.messages import Chunk, Gap, ResumePosition
from agent.recording.recorded_segments import replay_chunks
from agent.recording.sessions import RecordedSession


def read_last_signal(folder: Path, positions: Mapping[str, ResumePosition], seconds: float) -> Iterator[Chunk | Gap]:
    """The last `seconds` of the run that each bed is in, and up to 10 s more, in order within each bed."""
    with RecordedSession(folder) as session:
        for bed, at in positions.items():
            first = at.next - round(seconds * at.fs)
            segments = [one for one in session.segments(bed) if one.run == at.run and one.first + one.count > first]
            for message in replay_chunks(segments):
                count = message.count if isinstance(message, Gap) else len(message.counts)
                if message.first + count > first:
                    yield message
