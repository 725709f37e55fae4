"""The report of one bed: its sections, in the order in which they are read."""

import numpy as np

from agent.core.config import Config
from agent.core.messages import AlarmIdentity, Strip
from agent.report.alarm_content import alarm_section
from agent.report.alarmed_rates import find_alarmed_rates
from agent.report.beat_content import beat_section
from agent.report.beat_measurement import measure_recorded_beat
from agent.report.bed_recording import BedRecording
from agent.report.document import ReportDocument, ReportSection
from agent.report.doubt_words import doubt_variability, nn_percent
from agent.report.findings import compute_beat_findings
from agent.report.hrv_content import variability_section
from agent.report.recording_content import recording_section
from agent.report.recording_words import WARNING, describe_leads, describe_rate, describe_span
from agent.report.rhythm_content import rhythm_section
from agent.report.rhythm_episodes import find_rhythm_episodes
from agent.report.signal_quality import measure_signal_quality
from agent.report.strip_content import extreme_section
from agent.report.styles import NONE
from agent.report.summary_content import ReportFindings, summary_section
from agent.report.typical_content import typical_section
from model.rhythm.hrv import select_nn_intervals


def build_report_document(
    recording: BedRecording, found: ReportFindings, strips: dict[AlarmIdentity, Strip], config: Config
) -> ReportDocument:
    """Return the report of a bed; `strips` are those kept of its alarms, `config` defines rates, pauses and runs."""
    sections = [summary_section(recording, found, config)]
    if len(recording.beats):
        sections += [
            rhythm_section(recording, found.beats, found.fibrillation, config),
            beat_section(recording, found.beats),
            typical_section(recording, found.measured),
            extreme_section(recording, found.beats, found.fibrillation, config),
            variability_section(found.nn, nn_percent(recording, found.nn), found.nn_doubt),
        ]
    sections += [
        alarm_section(recording, strips, config.dashboard.least_confidence),
        recording_section(recording, config, found.signal),
    ]
    return ReportDocument(
        title=f"ECG report, bed {recording.bed}",
        facts=_report_facts(recording),
        warning=WARNING,
        footer=f"bed {recording.bed}   {_recorder_version(recording)}   {WARNING}",
        sections=_filled_sections(sections),
    )


def find_all(recording: BedRecording, config: Config) -> ReportFindings:
    """Return all that is measured of a recording."""
    beats, signal = recording.beats, measure_signal_quality(recording)
    # Noise and fibrillation give R peaks that are no heart beats: no rate and no pause is taken from them.
    clear = signal.clear(beats.at_s) & ~recording.fibrillating(beats.at_s)
    rr = beats.rr_s[beats.rr_s < config.rhythm.standstill_s]
    fibrillation = find_rhythm_episodes(recording, "atrial fibrillation", signal.recorded_s)
    found = compute_beat_findings(beats, clear, config, fibrillation.cover(beats.at_s))
    nn = select_nn_intervals(beats.at_s, beats.rr_s, beats.of("N") & clear)
    return ReportFindings(
        beats=found,
        nn=nn,
        signal=signal,
        fibrillation=fibrillation,
        mean_rate=60 / float(np.mean(rr)) if len(rr) else None,
        measured=measure_recorded_beat(recording),
        nn_doubt=doubt_variability(recording, nn, found, fibrillation.share),
        alarmed=find_alarmed_rates(recording),
    )


def _filled_sections(sections: list[ReportSection]) -> list[ReportSection]:
    return [section for section in sections if section.blocks]


def _recorder_version(recording: BedRecording) -> str:
    """Return which ecg-agent recorded it."""
    return f"ecg-agent {recording.about.get('version', '')}".strip()


def _report_facts(recording: BedRecording) -> tuple[tuple[str, str], ...]:
    still = "; it is still being recorded" if recording.live else ""
    leads = ", ".join(dict.fromkeys(lead.name for segment in recording.segments for lead in segment.leads))
    analysed = describe_leads(recording) if recording.lead else NONE
    return (
        *(("patient", label) for label in (recording.settings.patient,) if label),
        *(("place", label) for label in (recording.settings.place,) if label),
        ("recorded", f"{describe_span(recording)}{still}"),
        ("leads", f"{leads or NONE}; analysed: {analysed}"),
        ("sampling rate", describe_rate(recording) or NONE),
        ("recorded by", f"{_recorder_version(recording)}, weights {recording.about.get('weights', NONE)}"),
    )
