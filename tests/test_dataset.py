import hashlib
from pathlib import Path

import numpy as np
import pytest
from scipy.signal import resample_poly

from model.beats import dataset, frontend
from model.beats.dataset import TEST_BEATS, BeatSet
from model.errors import ConfigError
from model.records import wfdb_records

COUNTS = {"N": 90_589, "S": 2_779, "V": 7_236, "F": 803, "Q": 8_039}
TRAIN = {"N": 7_471, "S": 2_223, "V": 5_788, "F": 641, "Q": 6_431}
SMALL = BeatSet(np.ones((2, 187), np.float32), np.array([0, 3]), np.array(["100", "208"]))


@pytest.fixture(scope="session")
def beats() -> BeatSet:
    """All beats, built from the records."""
    return dataset._join_beat_sets([dataset.read_record_beats(name) for name in wfdb_records.embedded_records()])


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data set of record 100 alone, and its cache folder."""
    monkeypatch.setattr(wfdb_records, "embedded_records", lambda: ("100",))
    monkeypatch.setenv("ECG_AGENT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def equal(one: BeatSet, other: BeatSet) -> bool:
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in ("beats", "labels", "records"))


def test_counts(beats: BeatSet) -> None:
    """The data set has the 109,446 beats of Kachuee et al., class by class."""
    assert beats.counts() == COUNTS
    assert len(beats) == 109_446


def test_what_a_beat_is(beats: BeatSet) -> None:
    """Every beat is 187 float32 in 0..1 with a label and the record it is from."""
    assert beats.beats.shape == (109_446, 187)
    assert (str(beats.beats.dtype), str(beats.labels.dtype)) == ("float32", "int64")
    assert set(beats.records.tolist()) == set(wfdb_records.embedded_records())
    assert (beats.beats.min(), beats.beats.max()) == (0, 1)
    assert (beats.beats.max(axis=1) == 1).all()


def test_beats_of_a_record(beats: BeatSet) -> None:
    """Each record gives all its annotated beats but the last, in order, cut from its default lead."""
    for name, lead in (("100", 0), ("114", 1), ("234", 0)):
        record = wfdb_records.open_record(name)
        peaks, classes = wfdb_records.read_reference(record).beats()
        signal = resample_poly(wfdb_records.read_record_samples(record)[:, lead], 25, 72).astype(np.float32)
        found = beats.take(np.flatnonzero(beats.records == name))
        assert [wfdb_records.CLASSES[label] for label in found.labels] == list(classes[:-1])
        assert np.array_equal(found.beats, frontend.cut_beats(signal, np.rint(peaks * 125 / 360).astype(np.int64))[:-1])


def test_digest_tells_sets_apart() -> None:
    """The digest changes with a beat and with a label."""
    other_beats, other_labels = SMALL.beats * np.float32(0.5), np.array([0, 4])
    changed = [BeatSet(other_beats, SMALL.labels, SMALL.records), BeatSet(SMALL.beats, other_labels, SMALL.records)]
    assert len({one.digest() for one in (SMALL, *changed)}) == 3
    assert SMALL.take(np.array([0, 1])).digest() == SMALL.digest()


def test_split_sizes(beats: BeatSet) -> None:
    """The test side has the published 21,892 beats; 65,000 N beats fewer leave the training side as in the report."""
    split = dataset.split_beat_set(beats, "random", seed=0, drop_normal=65_000)
    assert split.test.counts() == TEST_BEATS
    assert len(split.test) == 21_892
    assert split.train.counts() == TRAIN


def test_sides_are_disjoint(beats: BeatSet) -> None:
    """No beat is on both sides, and without dropping every beat is on one."""
    train, test = dataset.split_at_random(beats, seed=0)
    assert np.array_equal(np.sort(np.concatenate([train, test])), np.arange(len(beats)))


def test_same_beats_on_the_sides_of_the_published_split(beats: BeatSet) -> None:
    """Dropping N beats from the training side of the published split leaves all else unchanged."""
    train, test = dataset.split_at_random(beats, seed=3)
    split = dataset.split_beat_set(beats, "random", seed=3, drop_normal=1_000)
    assert equal(split.test, beats.take(test))
    rare = beats.take(train[beats.labels[train] != 0])
    assert equal(split.train.take(np.flatnonzero(split.train.labels != 0)), rare)


def test_seed_decides_the_split(beats: BeatSet) -> None:
    """The same seed gives the same split, another seed another one."""
    first, again, other = (dataset.split_beat_set(beats, "random", seed, 65_000) for seed in (0, 0, 1))
    assert equal(first.train, again.train)
    assert equal(first.test, again.test)
    assert first.test.digest() != other.test.digest()
    assert first.train.digest() != other.train.digest()


def test_split_stays_the_same(beats: BeatSet) -> None:
    """Seed 0 draws the very rows that the shipped weights were trained and tested on."""
    rows = np.arange(len(beats), dtype=np.float32)[:, None]  # exact up to 2**24
    split = dataset.split_beat_set(BeatSet(rows, beats.labels, beats.records), "random", seed=0, drop_normal=65_000)
    digests = [hashlib.sha256(side.beats.astype("<u4").tobytes()).hexdigest() for side in (split.train, split.test)]
    assert digests == [
        "f332e4f1a9958f495b6a400882c8439f9df9492edddc90180e4e8260246ca13a",
        "2409cfc2426cc8c5472ba47e7cc62dfc644b3e431c4bd52b12136ccb57e01c32",
    ]


def test_cache(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second load comes from the cache and is the same."""
    built = dataset.load_beat_set()
    assert len(list(small.iterdir())) == 1
    monkeypatch.setattr(dataset, "read_record_beats", lambda _: pytest.fail("built again"))
    assert equal(dataset.load_beat_set(), built)


@pytest.mark.parametrize("content", [b"", b"PK", b"garbage" * 100, None], ids=["empty", "PK", "garbage", "cut"])
def test_broken_cache(small: Path, content: bytes | None) -> None:
    """A cache file that is empty, truncated or garbage is built again."""
    built = dataset.load_beat_set()
    (path,) = small.iterdir()
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2] if content is None else content)
    assert equal(dataset.load_beat_set(), built)
    assert path.read_bytes() == whole


def test_flipped_bit_in_the_cache(small: Path) -> None:
    """A changed bit in the cached beats is noticed."""
    built = dataset.load_beat_set()
    (path,) = small.iterdir()
    changed = bytearray(path.read_bytes())
    changed[len(changed) // 2] ^= 1
    path.write_bytes(changed)
    assert equal(dataset.load_beat_set(), built)


@pytest.mark.parametrize("folder", ["file", "file/below"])
def test_cache_that_cannot_be_written(
    small: Path, folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the cache folder cannot be created, the beats are built all the same."""
    (tmp_path / "file").touch()
    monkeypatch.setenv("ECG_AGENT_CACHE", str(tmp_path / folder))
    assert len(dataset.load_beat_set()) == 2272
    assert not small.exists()


def test_unwritable_cache_file(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If writing fails half-way, the beats are returned and no partial file is left."""

    def full(*_: object, **__: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(np, "savez", full)
    assert len(dataset.load_beat_set()) == 2272
    assert not list(small.iterdir())


def test_cache_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    """Built data sets are kept in ECG_AGENT_CACHE, else in the user's cache folder."""
    monkeypatch.setenv("ECG_AGENT_CACHE", "somewhere")
    assert dataset.cache_folder() == Path("somewhere")
    monkeypatch.setenv("ECG_AGENT_CACHE", "")
    assert dataset.cache_folder().name == "ecg-agent"


def test_patients_apart(beats: BeatSet) -> None:
    """DS1 trains, DS2 tests, 22 records each; the paced records are on neither side; beats stay as they were."""
    split = dataset.split_beat_set(beats, "inter-patient", seed=0, drop_normal=0)
    train, test = (set(side.records) for side in (split.train, split.test))
    assert (train, test) == (set(dataset.DS1), set(dataset.DS2))
    assert len(train) == len(test) == 22
    assert train | test | set(dataset.PACED_RECORDS) == set(beats.records)
    assert split.train.counts() == {"N": 45845, "S": 943, "V": 3788, "F": 415, "Q": 8}
    assert split.test.counts() == {"N": 44238, "S": 1836, "V": 3221, "F": 388, "Q": 7}


def test_whose_beats_a_net_has_learnt() -> None:
    """Patients apart, and records beyond DS1 and rhythms where there are any; a record by its name."""
    apart = {"protocol": "inter-patient"}
    live = apart | {"other_records": ["800", "802"], "borrowed_rhythms": ["00"]}
    more = "; it has also learnt 2 other records and the RR intervals of 1 more"
    assert dataset.describe_training_patients(live) == dataset.SPLIT_PROTOCOLS["inter-patient"] + more
    assert dataset.describe_training_patients(apart) == dataset.SPLIT_PROTOCOLS["inter-patient"]
    assert dataset.describe_training_patients({}) == "trained on unknown patients"
    names = ["100", "101", "800", "x"]
    assert dataset.list_heard_records(live, names) == ["101", "800"]
    assert dataset.list_heard_records(apart, names) == ["101"]
    assert dataset.list_heard_records({"protocol": "random"}, names) == ["100", "101"]
    assert dataset.list_heard_records({}, names) == []


def test_the_same_share_is_dropped(beats: BeatSet) -> None:
    """If the training side has another number of N beats than the published one, the same share is dropped."""
    split = dataset.split_beat_set(beats, "inter-patient", seed=0, drop_normal=65_000)
    assert split.train.counts()["N"] == round(45845 * (1 - 65_000 / 72_471))
    assert split.test.counts()["N"] == 44238


@pytest.mark.parametrize("protocol", dataset.SPLIT_PROTOCOLS)
def test_folds_part_the_training_side(beats: BeatSet, protocol: str) -> None:
    """The folds contain each training beat once and no test beat; each has beats of the large classes."""
    rows = BeatSet(np.arange(len(beats), dtype=np.float32)[:, None], beats.labels, beats.records)
    whole = dataset.split_beat_set(rows, protocol, 0, 0)
    folds = [dataset.split_beat_set(rows, protocol, 0, 0, fold) for fold in range(dataset.FOLD_COUNT)]
    held_out = np.concatenate([fold.test.beats for fold in folds])
    assert np.array_equal(np.sort(held_out, axis=0), whole.train.beats)
    for fold in folds:
        together = np.concatenate([fold.train.beats, fold.test.beats])
        assert np.array_equal(np.sort(together, axis=0), whole.train.beats)
        assert all(count > 10 for count in list(fold.test.counts().values())[:3])
        if protocol == "inter-patient":
            assert not set(fold.train.records) & set(fold.test.records)


def test_too_many_dropped(beats: BeatSet) -> None:
    """More N beats than there are cannot be dropped."""
    with pytest.raises(ConfigError, match="cannot drop 80000 N beats: the training side has 72471"):
        dataset.split_beat_set(beats, "random", 0, 80_000)
