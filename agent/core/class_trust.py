"""How well a net told the classes of beats apart in its tests, which is what a count of its beats is worth.

It comes from the model card of the weights, and a recording keeps it beside their name.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

import msgspec

from model.records.wfdb_records import CLASSES

TRUST_KEY = "class_trust"
"""Key of the session's `about` that holds it."""
LEAST_TEST_BEATS = 30
"""Test beats of a class, true or reported, with fewer of which a share of them says nothing."""
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]


@dataclass(frozen=True, slots=True)
class KnownRate:
    """A share (0..1) of test beats, and its 95 % confidence interval if the card has one."""

    share: Share
    interval: tuple[Share, Share] | None = None


@dataclass(frozen=True, slots=True)
class ClassTrust:
    """What tests on `records` records of other patients said of each class; empty if nothing is known.

    `sensitivity` is the share of the beats of a class that the net called so, `predictivity` the share of those it
    called so that were. Both are of beats that the detector had found, by the letter of the class. `learnt` names the
    records whose beats the net has learnt: what tests said does not hold for these.
    """

    sensitivity: dict[str, KnownRate] = field(default_factory=dict)
    predictivity: dict[str, KnownRate] = field(default_factory=dict)
    records: Annotated[int, msgspec.Meta(ge=0, lt=10**6)] = 0
    learnt: tuple[str, ...] = ()


UNKNOWN_TRUST = ClassTrust()


@dataclass(frozen=True, slots=True)
class _CardIntervals:
    """The part of a card's intervals that is read. `units`: how many of what was drawn."""

    recall: dict[str, tuple[float, float] | None]
    precision: dict[str, tuple[float, float] | None]
    unit: str
    units: int


@dataclass(frozen=True, slots=True)
class _CardMetrics:
    """The part of a card's metrics that is read. `confusion` counts beats by true (rows) and reported class."""

    recall: dict[str, float]
    precision: dict[str, float]
    confusion: list[list[int]]
    intervals: _CardIntervals


def trust_from_card(training: Mapping[str, Any], metrics: Mapping[str, Any]) -> ClassTrust:
    """Return what the training and the metrics of a model card say; nothing if patients were in both sides.

    A card without these figures, or with impossible ones, says nothing either.
    """
    # Only who loads a net needs it.
    from model.beats.dataset import DS1

    if training.get("protocol") != "inter-patient":
        return UNKNOWN_TRUST
    try:
        card = msgspec.convert(metrics, _CardMetrics)
        true = [sum(row) for row in card.confusion]
        reported = [sum(column) for column in zip(*card.confusion, strict=True)]
        found = ClassTrust(
            _known_rates(card.recall, card.intervals.recall, true),
            _known_rates(card.precision, card.intervals.precision, reported),
            card.intervals.units if card.intervals.unit == "record" else 0,
            (*DS1, *map(str, training.get("other_records") or ())),
        )
    except (msgspec.ValidationError, KeyError, ValueError):
        return UNKNOWN_TRUST
    return decode_class_trust(encode_class_trust(found))


def _known_rates(
    shares: Mapping[str, float], intervals: Mapping[str, tuple[float, float] | None], beats: list[int]
) -> dict[str, KnownRate]:
    """Return the rates of the classes that had enough test beats."""
    counted = zip(CLASSES, beats, strict=True)
    return {name: KnownRate(shares[name], intervals[name]) for name, count in counted if count >= LEAST_TEST_BEATS}


def encode_class_trust(trust: ClassTrust) -> str:
    """Return it as text for the session's `about`; "" if nothing is known."""
    return "" if trust == UNKNOWN_TRUST else msgspec.json.encode(trust).decode()


def decode_class_trust(text: str) -> ClassTrust:
    """Return what a session says; nothing if it says nothing, or what cannot be."""
    try:
        return msgspec.json.decode(text, type=ClassTrust)
    except (msgspec.MsgspecError, RecursionError):
        return UNKNOWN_TRUST


def merge_class_trust(about: Mapping[str, str], earlier: Mapping[str, str]) -> dict[str, str]:
    """Return `about` of a session that goes on: nothing is known of beats that nets of different trust classified."""
    now, before = about.get(TRUST_KEY, ""), earlier.get(TRUST_KEY, "")
    return {**about, TRUST_KEY: ""} if earlier and now != before else dict(about)


def rate_of_100(rate: KnownRate | None) -> str:
    """Return a rate as a number of 100 beats; it reads 0 or 100 only if it is exactly that."""
    if rate is None:
        return "not known"
    rounded = round(100 * rate.share)
    return str(rounded if rate.share in (0, 1) else min(99, max(1, rounded)))


def trust_sentence(trust: ClassTrust, name: str) -> str:
    """Return what tests said of a class, in words that go on a sentence about it."""
    found, right = trust.sensitivity.get(name), trust.predictivity.get(name)
    if found is None:
        return "how many such beats this net finds is not known"
    said = f"in tests this net found {rate_of_100(found)} of 100 such beats"
    return said if right is None else f"{said}, and {rate_of_100(right)} of 100 that it called so were"
