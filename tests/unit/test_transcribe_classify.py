"""The second judgement of strokes: what it is told, what it is made of, and how it is trained."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from backbeat.analysis.analyzer import shipped_models
from backbeat.charts.transcription.classify import (
    SPEC,
    StrokeClassifier,
    describe,
    moments_of,
    shipped_classifier,
    stroke_times_s,
    velocities_at,
)
from backbeat.charts.transcription.classify_songs import SongJob, StrokeTraining, described_song, hear_song, jobs_of
from backbeat.charts.transcription.classify_train import card_of, settled, train
from backbeat.errors import ConfigError, ModelError
from backbeat.music import DRUMS, Onsets

KICK, SNARE = DRUMS.index("kick"), DRUMS.index("snare")
TINY = StrokeTraining(songs=1, varied_songs=1, valid_songs=1, duration_s=4.0, networks=2, hidden=(8,), epochs=2)

shipped = pytest.mark.skipif(
    not (shipped_models()["onset"] / "spec.json").is_file(), reason="no weights ship with this checkout"
)


def heard(frames: int = 300) -> tuple[np.ndarray, np.ndarray]:
    """Return a spectrogram and activations in which a kick and a snare take turns every 20 frames."""
    rng = np.random.default_rng(0)
    spectrogram = rng.uniform(0, 0.1, (frames, 96)).astype(np.float32)
    activations = np.full((frames, 21), 0.01, dtype=np.float32)
    for number, frame in enumerate(range(20, frames - 20, 20)):
        drum, bands = (SNARE, slice(30, 90)) if number % 2 else (KICK, slice(0, 12))
        spectrogram[frame : frame + 8, bands] += 2.0
        activations[frame - 1 : frame + 2, 1 + drum] = 0.4, 0.9, 0.5
        activations[frame, 0] = 0.9
        activations[frame, 11 + drum] = 0.7
    return spectrogram, activations


def test_moments_are_peaks_of_any_activation() -> None:
    _, activations = heard()
    assert moments_of(activations).tolist() == list(range(20, 280, 20))
    activations[110, 1 + DRUMS.index("ride")] = 0.2
    assert 110 in moments_of(activations)
    assert moments_of(np.zeros((50, 21), dtype=np.float32)).size == 0
    assert moments_of(np.zeros((0, 21), dtype=np.float32)).size == 0


def test_strokes_lie_where_their_own_activation_peaks() -> None:
    _, activations = heard()
    activations[38, 1 + KICK] = 0.5
    moments = moments_of(activations)
    times_s = stroke_times_s(activations, moments, 100.0)
    assert times_s.shape == (moments.size, len(DRUMS))
    assert times_s[1, KICK] == pytest.approx(0.38, abs=0.005)
    assert times_s[1, SNARE] == pytest.approx(0.40, abs=0.005)
    assert times_s[1, DRUMS.index("crash")] == pytest.approx(0.40)
    assert velocities_at(activations, moments)[0, KICK] == pytest.approx(0.7 * 0.9 / 1.82, abs=0.02)


def test_descriptions_do_not_depend_on_what_is_far_in_time_alone() -> None:
    spectrogram, activations = heard()
    moments = moments_of(activations)
    described = describe(spectrogram, activations, moments)
    assert described.shape[0] == moments.size
    assert np.isfinite(described).all()
    twice = describe(
        np.concatenate([spectrogram] * 2),
        np.concatenate([activations] * 2),
        np.concatenate([moments, moments + len(activations)]),
    )
    # A song played twice tells as much of each stroke, but for who is alike and the gap between the two.
    assert np.median(np.abs(twice[: moments.size] - described)) < 1e-5
    one = describe(spectrogram, activations, moments[:1])
    assert one.shape == (1, described.shape[1])
    assert np.isfinite(one).all()


@shipped
def test_a_song_is_heard_twice_to_learn_from_and_alike_every_time() -> None:
    learned, valid = (hear_song(job) for job in (SongJob(TINY, "varied", 2), SongJob(TINY, "valid", 0)))
    assert valid.plain == len(valid.described)
    assert learned.plain < len(learned.described)
    assert learned.labels.shape == (len(learned.described), len(DRUMS))
    assert learned.labels[: learned.plain].sum() > 5
    again = hear_song(SongJob(TINY, "varied", 2))
    np.testing.assert_array_equal(again.described, learned.described)
    np.testing.assert_array_equal(again.labels, learned.labels)


@shipped
def test_silence_is_heard_as_nothing() -> None:
    song = described_song(np.zeros((200, 96), np.float32), Onsets(np.empty(0)))
    assert song.plain == 0
    with pytest.raises(ConfigError, match="nothing is struck"):
        train(TINY, [song], [song])


@shipped
def test_training_learns_saves_and_is_the_same_twice(tmp_path: Path) -> None:
    spectrogram, activations = heard(2000)
    moments = moments_of(activations)
    labels = np.zeros((moments.size, len(DRUMS)), dtype=np.float32)
    labels[0::2, KICK], labels[1::2, SNARE] = 1, 1
    times_s = stroke_times_s(activations, moments, 100.0)
    truth = Onsets(moments / 100.0, ["kick", "snare"] * (moments.size // 2) + ["kick"] * (moments.size % 2))
    valid = hear_song(SongJob(TINY, "valid", 0))
    song = replace(
        valid,
        described=describe(spectrogram, activations, moments),
        labels=labels,
        times_s=times_s,
        plain=moments.size,
        truth=truth,
    )
    training = replace(TINY, epochs=150, learning_rate=1e-2, dropout=0.0)
    classifier, metrics = train(training, [song], [song])
    assert metrics["kick_f"] == 1.0
    assert metrics["snare_f"] == 1.0
    likely = classifier.probabilities(song.described)
    assert likely[0::2, KICK].min() > 0.5 > likely[1::2, KICK].max()
    again, _ = train(training, [song], [song])
    np.testing.assert_array_equal(again.probabilities(song.described), likely)

    classifier.save(tmp_path / "strokes", card_of(classifier.spec, training))
    loaded = StrokeClassifier.from_folder(tmp_path / "strokes")
    assert loaded.spec == classifier.spec
    np.testing.assert_allclose(loaded.probabilities(song.described), likely, atol=0.02)
    assert settled(loaded, [song])[1]["kick_f"] == 1.0
    assert "backbeat-strokes" in (tmp_path / "strokes" / "README.md").read_text()


def test_what_cannot_be_loaded_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no stroke classifier"):
        StrokeClassifier.from_folder(tmp_path / "missing")
    folder = tmp_path / "strokes"
    folder.mkdir()
    (folder / SPEC).write_text(json.dumps({"spec_version": 99}))
    with pytest.raises(ModelError, match="version"):
        StrokeClassifier.from_folder(folder)
    (folder / SPEC).write_text(json.dumps({"spec_version": 1, "name": "x"}))
    with pytest.raises(ModelError, match="cannot be read"):
        StrokeClassifier.from_folder(folder)
    with pytest.raises(ConfigError, match="too few"):
        StrokeTraining(songs=0, varied_songs=0)
    assert [len(jobs) for jobs in jobs_of(TINY)] == [2, 1]


@pytest.mark.skipif(
    not (Path(shipped_models()["onset"]).parent / "strokes" / SPEC).is_file(), reason="no classifier ships"
)
def test_the_shipped_classifier_is_small_and_knows_its_features() -> None:
    classifier = shipped_classifier()
    folder = shipped_models()["onset"].parent / "strokes"
    assert sum(path.stat().st_size for path in folder.iterdir()) < 500_000
    assert set(classifier.spec.thresholds) == set(DRUMS)
    spectrogram, activations = heard()
    likely = classifier.probabilities(describe(spectrogram, activations, moments_of(activations)))
    assert likely.shape[1] == len(DRUMS)
    assert np.all((likely >= 0) & (likely <= 1))
    with pytest.raises(ModelError, match="another onset model"):
        classifier.probabilities(np.zeros((1, 7), dtype=np.float32))
