"""A recording in words: when it was made, which leads were analysed, and at which rate."""

from agent.report.bed_recording import BedRecording
from agent.report.sending_pace import measure_sending_pace
from agent.report.styles import date_and_time, duration_in_words, share_in_percent

WARNING = "Research tool, not a medical device"
CLOCK_KEY = "clock"
"""Key of the session's `about` that says whose clock its times are of; without it they are Unix times of a monitor."""
FILE_CLOCK, NO_CLOCK = "file", "none"
CLOCK_TEXTS = {FILE_CLOCK: "by the clock of the file", NO_CLOCK: "from the start of the file, which states no date"}
CLOCK_NAMES = {FILE_CLOCK: "clock of the file", NO_CLOCK: "from the start of the file"}
FILE_RATE_KEY = "file_rate"
"""Key of the session's `about` that gives the rate in hertz of the file that it was made of."""


def name_clock(recording: BedRecording) -> str:
    """Return in a few words what the times of a recording count by."""
    return CLOCK_NAMES.get(recording.about.get(CLOCK_KEY, ""), "UTC")


def describe_span(recording: BedRecording) -> str:
    """Return from when to when a recording lasts, by whose clock, and how long that is."""
    started = recording.started_s
    if started is None:
        return "no signal"
    clock = CLOCK_TEXTS.get(recording.about.get(CLOCK_KEY, ""), "UTC")
    span = f"{date_and_time(started)} to {date_and_time(started + recording.length_s)} {clock}"
    span += f", {duration_in_words(recording.length_s)}" if recording.length_s else ""
    pace = measure_sending_pace(recording)
    if pace is None:
        return span
    return (
        f"{span}; sent about {pace.times:.{1 if pace.times < 10 else 0}f} times as fast as real time, until "
        f"{date_and_time(pace.until_s)}: all times here count the samples"
    )


def describe_leads(recording: BedRecording) -> str:
    """Return which leads were analysed, in words, and how long each was heard if several were."""
    names = [recording.lead_title(name) for name in recording.heard.analysed] or [recording.lead_title(recording.lead)]
    heard = recording.heard_seconds()
    total = sum(heard.values())
    if len(names) == 1 or not total:
        return names[0]
    listed = f"{', '.join(names[:-1])} and {names[-1]}"
    main, *others = ((recording.lead_title(name), 100 * seconds / total) for name, seconds in heard.items())
    if not others:
        return f"{listed} ({main[0]} heard, the {'other' if len(names) == 2 else 'others'} beside it)"
    return f"{listed} ({', '.join(f'{name} heard {share_in_percent(share)}' for name, share in (main, *others))})"


def describe_rate(recording: BedRecording) -> str:
    """Return the sampling rates of the recording in words, and that of the file it was made of."""
    rates = ", ".join(f"{fs:g} Hz" for fs in dict.fromkeys(segment.fs for segment in recording.segments))
    of_file = recording.about.get(FILE_RATE_KEY, "")
    return f"{of_file} Hz, analysed at {rates}" if of_file and f"{of_file} Hz" != rates else rates
