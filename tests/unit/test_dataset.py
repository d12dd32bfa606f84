from pathlib import Path

import numpy as np
import pytest

from backbeat.augment import Augmentation, augment, stretch_frames
from backbeat.corpus.contract import Corpus, Track, write_annotations, write_beats, write_onsets
from backbeat.dataset import (
    FeatureStore,
    content_hashes,
    read_labels,
    training_windows,
    write_features,
    write_labels,
)
from backbeat.errors import CorpusError
from backbeat.features import LOG_GAIN, FeatureParams
from backbeat.music import Beats, Onsets

PARAMS = FeatureParams(mel_bands=16)


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    root = tmp_path / "tiny"
    tracks = (
        Track("a", "audio/a.wav", "train", "rock", sha256="1"),
        Track("b", "audio/b.wav", "test", "", sha256="2"),
    )
    write_annotations(root, tracks)
    made = Corpus(root, tracks)
    write_beats(made.beats_path(tracks[0]), Beats(np.array([0.5, 1.0, 1.5]), np.array([1, 2, 1])))
    write_onsets(made.onsets_path(tracks[1]), Onsets(np.array([0.25]), ["snare"], np.array([0.5])))
    return made


def test_labels_go_to_the_tasks_that_they_are_for(corpus: Corpus, tmp_path: Path) -> None:
    write_labels(tmp_path / "labels", corpus)
    (beat,) = read_labels(tmp_path / "labels", "beat")
    assert (beat.corpus, beat.id, beat.split, beat.genre) == ("tiny", "a", "train", "rock")
    assert beat.values["times_s"] == [0.5, 1.0, 1.5]
    assert beat.values["positions"] == [1, 2, 1]
    (onset,) = read_labels(tmp_path / "labels", "onset")
    assert (onset.id, onset.values["classes"], onset.values["velocities"]) == ("b", ["snare"], [0.5])
    (genre,) = read_labels(tmp_path / "labels", "genre")
    assert genre.id == "a"


def test_a_beat_annotation_changes_the_hash_of_beats_only(corpus: Corpus, tmp_path: Path) -> None:
    labels = tmp_path / "labels"
    write_labels(labels, corpus)
    before = {task: content_hashes(labels, task) for task in ("beat", "onset", "genre")}
    audio = (labels / "audio/tiny.jsonl").read_bytes()
    write_beats(corpus.beats_path(corpus.tracks[0]), Beats(np.array([0.5, 1.0, 1.6]), np.array([1, 2, 1])))
    write_labels(labels, corpus)
    after = {task: content_hashes(labels, task) for task in ("beat", "onset", "genre")}
    assert after["beat"] != before["beat"]
    assert after["onset"] == before["onset"]
    assert after["genre"] == before["genre"]
    assert (labels / "audio/tiny.jsonl").read_bytes() == audio


def test_no_labels_is_an_error_that_names_the_task(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="no corpus in the pipeline has annotations for beat"):
        read_labels(tmp_path, "beat")


def test_features_come_back_track_by_track(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    made = {"a": rng.random((30, 16), dtype=np.float32), "b": rng.random((7, 16), dtype=np.float32)}
    write_features(tmp_path / "tiny", PARAMS, iter(made.items()))
    store = FeatureStore(tmp_path)
    assert store.params(["tiny"]) == PARAMS
    for name, expected in made.items():
        np.testing.assert_array_equal(store.get("tiny", name), expected.astype(np.float16))
    with pytest.raises(CorpusError, match="has no features of track c"):
        store.get("tiny", "c")
    with pytest.raises(CorpusError, match="has no features; `dvc repro`"):
        store.get("other", "a")


def test_corpora_of_different_front_ends_do_not_mix(tmp_path: Path) -> None:
    write_features(tmp_path / "one", PARAMS, [("a", np.zeros((3, 16), np.float32))])
    write_features(tmp_path / "two", FeatureParams(mel_bands=32), [("a", np.zeros((3, 32), np.float32))])
    with pytest.raises(CorpusError, match="2 different kinds"):
        FeatureStore(tmp_path).params(["one", "two"])


def test_interrupted_writing_leaves_nothing(tmp_path: Path) -> None:
    def tracks():  # type: ignore[no-untyped-def]
        yield "a", np.zeros((3, 16), np.float32)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_features(tmp_path / "tiny", PARAMS, tracks())
    assert list(tmp_path.iterdir()) == []


def test_windows_cover_every_track_and_move_with_the_epoch() -> None:
    lengths = [1000, 250, 90]
    first = training_windows(lengths, 100, np.random.default_rng(0))
    counts = [sum(window.track == track for window in first) for track in range(3)]
    assert counts == [10, 2, 1]
    assert all(window.start + window.length <= lengths[window.track] for window in first if window.track < 2)
    assert first == training_windows(lengths, 100, np.random.default_rng(0))
    assert first != training_windows(lengths, 100, np.random.default_rng(1))


def test_stretching_keeps_ends_and_interpolates() -> None:
    ramp = np.linspace(0, 1, 11, dtype=np.float16)[:, None].repeat(3, axis=1)
    slow = stretch_frames(ramp, 21)
    np.testing.assert_allclose(slow[:, 0], np.linspace(0, 1, 21), atol=1e-3)
    np.testing.assert_array_equal(stretch_frames(ramp, 11), ramp.astype(np.float32))


def test_augmentation_is_the_same_for_the_same_seed_and_none_changes_nothing() -> None:
    import torch

    batch = torch.rand(4, 50, 16)
    everything = Augmentation(1.2, 12, 4, 3, 0.5, 0.5, 2)
    one, two = (augment(batch.clone(), everything, np.random.default_rng(5)) for _ in range(2))
    assert torch.equal(one, two)
    assert bool(torch.isfinite(one).all())
    assert not torch.equal(one, augment(batch.clone(), everything, np.random.default_rng(6)))
    unchanged = augment(batch.clone(), Augmentation(), np.random.default_rng(5))
    assert torch.allclose(unchanged, batch, atol=1e-5)


def test_gain_acts_as_on_the_waveform() -> None:
    import torch

    linear = torch.full((1, 2, 16), 0.01)
    louder = augment(torch.log1p(LOG_GAIN * linear), Augmentation(gain_db=6), np.random.default_rng(0))
    factor = float(torch.expm1(louder).mean() / LOG_GAIN / 0.01)
    expected_db = np.random.default_rng(0).uniform(-6, 6, (1, 1))[0, 0]
    assert 20 * np.log10(factor) == pytest.approx(expected_db, abs=1e-3)
