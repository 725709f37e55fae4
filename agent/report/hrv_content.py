"""The section of heart-rate variability."""

from agent.report.document import PlainBlock, ReportFigure, ReportNote, ReportSection, ReportTable, SideBySide
from agent.report.hrv_charts import hrv_picture
from agent.report.styles import number_or_dash, share_in_percent
from model.rhythm.hrv import (
    NNIntervals,
    NNSpectrum,
    PoincarePlot,
    TimeDomain,
    measure_nn_spectrum,
    measure_poincare,
    measure_time_domain,
)

NO_SPECTRUM = "no five minutes in a row for a spectrum"


def variability_section(nn: NNIntervals, all_percent: float, doubt: str) -> ReportSection:
    """Return the section of time domain, frequency domain and Poincaré plot.

    `all_percent`: NN intervals used, of all RR intervals; `doubt`: why the figures do not hold, "" where they do.
    """
    section = ReportSection("Heart-rate variability")
    figures = measure_time_domain(nn)
    if figures is None:
        section.blocks.append(ReportNote("No interval between two normal beats in a row: nothing to measure."))
        return section
    if doubt:
        section.blocks.append(ReportNote(_say_doubtful(figures, nn, all_percent, doubt)))
        return section
    power, cloud = measure_nn_spectrum(nn), measure_poincare(nn)
    picture, time_domain = (
        ReportFigure(hrv_picture(nn, power, cloud)),
        _time_domain_table(figures, nn, cloud, (power is not None, all_percent)),
    )
    if power is None:
        columns: tuple[tuple[PlainBlock, ...], ...] = (picture,), (time_domain,)
        section.blocks.append(SideBySide(columns, (0.5, 0.5)))
        return section
    section.blocks += [picture, SideBySide(((time_domain,), (_power_table(power),)), (0.55, 0.45))]
    return section


def _say_doubtful(figures: TimeDomain, nn: NNIntervals, all_percent: float, doubt: str) -> str:
    """Return why the figures do not hold, and the main ones."""
    return (
        f"Not given: {doubt}. What the {len(nn):,} NN intervals ({share_in_percent(all_percent)} of all RR) give does "
        f"not hold: mean {number_or_dash(figures.mean)}, SDNN {number_or_dash(figures.sdnn)}, RMSSD "
        f"{number_or_dash(figures.rmssd, 0, 'ms')}."
    )


def _time_domain_table(
    figures: TimeDomain, nn: NNIntervals, cloud: PoincarePlot | None, more: tuple[bool, float]
) -> ReportTable:
    spectrum, all_percent = more
    rows: tuple[tuple[str, str, str], ...] = (
        ("mean NN", number_or_dash(figures.mean, 0, "ms"), "mean of the intervals between normal beats"),
        ("SDNN", number_or_dash(figures.sdnn, 1, "ms"), "their standard deviation over the whole recording"),
        ("SDANN", number_or_dash(figures.sdann, 1, "ms"), "deviation of the means of five minutes"),
        ("SDNN index", number_or_dash(figures.sdnn_index, 1, "ms"), "mean of the deviations of five minutes"),
        ("RMSSD", number_or_dash(figures.rmssd, 1, "ms"), "root mean square of the steps between intervals"),
        ("pNN50", number_or_dash(figures.pnn50, 1, "%"), "steps of more than 50 ms"),
        ("triangular index", number_or_dash(figures.triangular, 1), "intervals over the height of their histogram"),
        ("SD1", number_or_dash(cloud.sd1 if cloud else None, 1, "ms"), "width of the Poincaré plot"),
        ("SD2", number_or_dash(cloud.sd2 if cloud else None, 1, "ms"), "its length"),
        ("intervals", f"{len(nn):,}", f"{share_in_percent(all_percent)} of all RR intervals"),
    )
    caption = "Time domain and Poincaré plot" + ("" if spectrum else f"; {NO_SPECTRUM}")
    return ReportTable(("figure", "value", "what it is"), rows, "lrl", (0.24, 0.18, 0.58), caption)


def _power_table(power: NNSpectrum) -> ReportTable:
    bands = (("VLF", "0.0033 to 0.04 Hz"), ("LF", "0.04 to 0.15 Hz"), ("HF", "0.15 to 0.4 Hz"))
    rows = tuple((name, number_or_dash(power.power(name), 0, "ms²"), span) for name, span in bands)
    mean = f"mean of {power.segments:,} segments of five minutes"
    rows = (*rows, ("LF / HF", number_or_dash(power.ratio, 2), mean))
    return ReportTable(("band", "power", "what it is"), rows, "lrl", (0.2, 0.24, 0.56), "Frequency domain")
