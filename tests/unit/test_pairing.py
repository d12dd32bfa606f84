"""Pairing: what the towers hear, how it is learnt, and what finding a beat among others is worth."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from backbeat.augment import Augmentation
from backbeat.dataset import FeatureStore, LabelledTrack, write_features
from backbeat.errors import ConfigError, ModelError
from backbeat.features import FeatureParams
from backbeat.files import sha256_file
from backbeat.learning import Optimisation
from backbeat.model import WEIGHTS, ModelSpec, save_model
from backbeat.pairing.data import pair_batches
from backbeat.pairing.model import PairingModel
from backbeat.pairing.network import ROLES, PairingNetwork, RhythmTower, lag_weights
from backbeat.pairing.score import Candidates, Partner, chance_row, partners, score_similarities, score_track
from backbeat.pairing.task import PairingTask

FEATURES = FeatureParams(mel_bands=16)
NETWORK: dict[str, Any] = {"channels": [4, 4], "width": 8, "layers": 1, "envelopes": 2, "style": 8, "rhythm": 24}
LOSS = {"temperature": 0.1, "genre": 0.0}
OPTIMISATION = Optimisation(
    epochs=2, batch_size=8, window_s=6.0, learning_rate=5e-3, weight_decay=0.01, clip=1.0, patience=0
)
SPEC = ModelSpec("pairing", "backbeat-pairing", "0.1.0", NETWORK, FEATURES, ROLES)


def pulse(bpm: float, low: bool, seconds: float = 8.0, seed: int = 0) -> NDArray[np.float32]:
    """A spectrogram of strokes at a tempo, in the lower or the upper bands."""
    rng = np.random.default_rng(seed)
    frames = round(seconds * 100)
    made = 0.1 * rng.random((frames, 16), dtype=np.float32)
    for time_s in np.arange(rng.uniform(0, 0.3), seconds - 0.1, 60 / bpm):
        at = round(time_s * 100)
        made[at : at + 4, (0 if low else 8) :][:, :8] += 3.0
    return made


@pytest.fixture(scope="module")
def network() -> PairingNetwork:
    torch.manual_seed(1)
    return PairingNetwork(16, 100.0, **NETWORK).eval()


def test_lags_are_sampled_by_triangles_of_weight_one() -> None:
    lags = np.array([10.0, 20.5, 100.0])
    weights = lag_weights(lags, 130, 58)
    assert weights.shape == (130, 3)
    np.testing.assert_allclose(weights.sum(axis=0), 1.0, rtol=1e-6)
    # A straight line is sampled exactly at whole lags and between them.
    np.testing.assert_allclose(np.arange(130) @ weights, lags, rtol=1e-5)
    assert np.count_nonzero(weights[:, 0]) == 1
    assert np.count_nonzero(weights[:, 2]) == 3


@pytest.mark.parametrize("bpm", [75.0, 120.0, 171.0])
def test_the_profile_peaks_at_the_tempo(bpm: float) -> None:
    torch.manual_seed(0)
    tower = RhythmTower(16, 100.0, 2, 4, 20.0, 400.0, 58, 8, 0.0).eval()
    with torch.inference_mode():
        profile = tower.profile(torch.from_numpy(pulse(bpm, True, 20.0))[None])[0].mean(0).numpy()
    bpms = 20.0 * 2 ** (np.arange(profile.size) / 58)
    near = np.flatnonzero(np.abs(np.log2(bpms / bpm)) < 0.4)
    found = bpms[near[np.argmax(profile[near])]]
    assert found == pytest.approx(bpm, rel=0.02)


def test_a_faster_pulse_is_the_same_profile_further_on() -> None:
    """Tempi that are an octave's twelfth apart lie a twelfth of the steps apart."""
    torch.manual_seed(0)
    tower = RhythmTower(16, 100.0, 2, 4, 20.0, 400.0, 60, 8, 0.0).eval()
    with torch.inference_mode():
        slow, fast = (tower.profile(torch.from_numpy(pulse(bpm, True, 30.0))[None])[0, 0].numpy() for bpm in (100, 200))
    inner = slice(115, 175)
    lag = max(range(30, 91), key=lambda shift: np.corrcoef(slow[inner], np.roll(fast, -shift)[inner])[0, 1])
    assert lag in (59, 60, 61)


def test_vectors_have_length_one_whatever_the_length_of_the_music(network: PairingNetwork) -> None:
    for frames in (100, 333, 3000):
        with torch.inference_mode():
            vectors = network(torch.rand(2, frames, 16))
        assert vectors.shape == (2, 2, 32)
        np.testing.assert_allclose(vectors.norm(dim=-1).numpy(), 1.0, rtol=1e-5)


def test_level_changes_the_rhythm_hardly(network: PairingNetwork) -> None:
    loud = torch.from_numpy(pulse(110, True))[None]
    with torch.inference_mode():
        one, other = network.take.rhythm(loud), network.take.rhythm(0.7 * loud)
    assert torch.cosine_similarity(one, other).item() > 0.99


def test_the_network_exports_with_any_length(network: PairingNetwork) -> None:
    example, free = torch.rand(2, 800, 16), torch.export.Dim.AUTO
    made = torch.export.export(network, (example,), dynamic_shapes=({0: free, 1: free},), strict=False)
    other = torch.rand(3, 555, 16)
    np.testing.assert_allclose(made.module()(other).detach().numpy(), network(other).detach().numpy(), atol=1e-5)


def track(number: int, split: str, parts: str = "drums") -> LabelledTrack:
    return LabelledTrack("tiny", f"t{number:03d}", split, "rock", "CC0-1.0", {"beat": f"b{number:03d}", "parts": parts})


def test_batches_are_of_one_kind_of_parts_and_have_each_song_once() -> None:
    tracks = [track(number, "train", "drums" if number % 3 else "backing") for number in range(30)]
    made = pair_batches(tracks, 8, np.random.default_rng(0))
    assert sorted(one.id for batch in made for one in batch) == [one.id for one in tracks]
    assert sorted(len(batch) for batch in made) == [5, 5, 6, 7, 7]
    assert all(len({one.values["parts"] for one in batch}) == 1 for batch in made)
    assert [one.id for one in pair_batches(tracks, 30, None)[1]] == [
        one.id for one in tracks if one.id not in {other.id for other in pair_batches(tracks, 30, None)[0]}
    ]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    """Forty songs of tempi of their own: takes in the upper bands, beats in the lower."""
    folder = tmp_path_factory.mktemp("features")
    spectrograms = []
    for number in range(40):
        bpm = 70 * 2 ** (number / 40)
        spectrograms.append((f"t{number:03d}", pulse(bpm, False, seed=2 * number)))
        spectrograms.append((f"b{number:03d}", pulse(bpm, True, seed=2 * number + 1)))
    write_features(folder / "tiny", FEATURES, spectrograms)
    return FeatureStore(folder)


def labelled() -> list[LabelledTrack]:
    # Tempi between those of training are those of validation.
    return [track(number, "valid" if number % 4 == 2 else "train") for number in range(40)]


def trained(store: FeatureStore, epochs: int) -> tuple[PairingTask, dict[str, float]]:
    import pytorch_lightning as pl

    torch.manual_seed(0)
    torch.use_deterministic_algorithms(True, warn_only=True)
    tracks = labelled()
    optimisation = replace(OPTIMISATION, epochs=epochs, batch_size=30)
    task = PairingTask(NETWORK, LOSS, optimisation, tracks, FEATURES, 0)
    data = task.data(store, tracks, Augmentation(stretch=1.2, gain_db=6, tone_db=2), 0)
    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        num_sanity_val_steps=0,
        limit_val_batches=0,
        reload_dataloaders_every_n_epochs=1,
    )
    trainer.fit(task, datamodule=data)
    task.eval()
    decoding, metrics = task.settle(replace(SPEC, decoding={"window_s": 8.0, "hop_s": 8.0}), store, data.valid_tracks)
    assert decoding == {"window_s": 8.0, "hop_s": 8.0}
    return task, metrics


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning", "ignore::DeprecationWarning")
def test_takes_learn_to_find_beats_of_their_tempo(store: FeatureStore) -> None:
    torch.set_num_threads(1)
    task, metrics = trained(store, 50)
    assert task.objective in metrics
    assert metrics["recall_1"] > 0.5
    assert metrics["recall_5"] == 1.0
    again, _ = trained(store, 2)
    once_more, _ = trained(store, 2)
    for one, other in zip(again.network.parameters(), once_more.network.parameters(), strict=True):
        assert torch.equal(one, other)


def test_windows_of_a_pair_are_stretched_alike(store: FeatureStore) -> None:
    tracks = labelled()
    task = PairingTask(NETWORK, LOSS, OPTIMISATION, tracks, FEATURES, 0)
    data = task.data(store, tracks, Augmentation(stretch=1.3), 4)
    assert data.window_frames == 600
    (first, *_), (same, *_) = list(data.train_dataloader()), list(data.train_dataloader())
    assert first["take"].shape == first["beat"].shape
    assert first["take"].shape[1:] == (600, 16)
    assert torch.equal(first["take"], same["take"])

    def period(window: NDArray[np.float32]) -> float:
        rises = np.maximum(0, np.diff(window.sum(axis=1)))
        rises = rises - rises.mean()
        likeness = np.correlate(rises, rises, "full")[rises.size - 1 :]
        return float(20 + np.argmax(likeness[20:110]))

    for take, beat in zip(first["take"].numpy(), first["beat"].numpy(), strict=True):
        ratio = period(take) / period(beat)
        assert min(abs(ratio - octave) for octave in (0.5, 1.0, 2.0)) < 0.06


def test_the_loss_is_that_of_guessing_where_all_are_alike() -> None:
    task = PairingTask(NETWORK, LOSS, OPTIMISATION, labelled(), FEATURES, 0).eval()
    same = torch.from_numpy(pulse(100, True))[None].expand(5, -1, -1)
    batch = {"take": same, "beat": same, "genre": torch.zeros(5, dtype=torch.long)}
    losses = task.losses(batch)
    assert losses["loss"].item() == pytest.approx(np.log(5), rel=1e-4)
    with pytest.raises(ConfigError, match="weight of the genre"):
        PairingTask(NETWORK, {"temperature": 0.1, "genre": -1.0}, OPTIMISATION, labelled(), FEATURES, 0)
    with pytest.raises(ConfigError, match="temperature"):
        PairingTask(NETWORK, {"temperature": 0.0, "genre": 0.0}, OPTIMISATION, labelled(), FEATURES, 0)


def test_genres_count_where_they_are_known() -> None:
    tracks = [replace(one, genre=("rock", "house", "")[number % 3]) for number, one in enumerate(labelled())]
    task = PairingTask(NETWORK, {"temperature": 0.1, "genre": 0.5}, OPTIMISATION, tracks, FEATURES, 0).eval()
    assert [task.genre_row(one) for one in tracks[:3]] == [1, 0, -100]
    some = torch.from_numpy(np.stack([pulse(90 + 10 * number, True) for number in range(3)]))
    batch = {"take": some, "beat": some}
    told = task.losses({**batch, "genre": torch.tensor([1, 0, -100])})
    assert told["loss"].item() == pytest.approx(told["pairs"].item() + 0.5 * told["genres"].item())
    assert told["genres"].item() == pytest.approx(np.log(2), abs=0.5)
    unknown = task.losses({**batch, "genre": torch.full((3,), -100)})
    assert unknown["loss"].item() == pytest.approx(told["pairs"].item())
    assert "genres" not in unknown


@pytest.fixture
def folder(network: PairingNetwork, tmp_path: Path) -> Path:
    save_model(tmp_path / "pairing", network, SPEC, "card")
    return tmp_path / "pairing"


def test_a_model_comes_back_from_its_folder(network: PairingNetwork, folder: Path) -> None:
    model, fresh = PairingModel.from_folder(folder), PairingModel(network, SPEC)
    assert model.space == fresh.space == f"pairing:{sha256_file(folder / WEIGHTS)[:12]}"
    take, beat = model.embed_take(pulse(90, True)), model.embed_beat(pulse(90, True))
    assert take.shape == beat.shape == (model.size,) == (32,)
    assert take.dtype == np.float32
    assert np.linalg.norm(take) == pytest.approx(1.0, rel=1e-5)
    assert not np.allclose(take, beat)
    np.testing.assert_array_equal(take, fresh.embed_take(pulse(90, True)))
    # The copy that listens has its norms merged and gives the same.
    with torch.inference_mode():
        plain = network(torch.from_numpy(pulse(90, True))[None])[0].numpy()
    np.testing.assert_allclose(np.stack([take, beat]), plain, atol=1e-4)


def test_long_music_is_heard_in_windows_and_short_music_is_heard_at_all(network: PairingNetwork) -> None:
    model = PairingModel(network, replace(SPEC, decoding={"window_s": 4.0, "hop_s": 2.0}))
    long = pulse(90, True, 9.0)
    windows = [model.embed_take(long[start : start + 400]) for start in (0, 200, 400, 500)]
    mean = np.sum(windows, axis=0)
    np.testing.assert_allclose(model.embed_take(long), mean / np.linalg.norm(mean), atol=1e-5)
    for frames in (1, 50):
        assert np.isfinite(model.embed_beat(long[:frames])).all()


def test_a_model_of_another_task_is_refused(folder: Path) -> None:
    spec = json.loads((folder / "spec.json").read_text())
    (folder / "spec.json").write_text(json.dumps({**spec, "task": "genre"}))
    with pytest.raises(ModelError, match="is a model for genre, not for pairing"):
        PairingModel.from_folder(folder)
    with pytest.raises(ConfigError, match="window_s"):
        PairingModel(PairingNetwork(16, 100.0, **NETWORK), replace(SPEC, decoding={"window_s": 0.0}))


def test_the_best_of_a_hundred_is_found() -> None:
    similarities = np.linspace(0, 1, 100)
    assert score_similarities(99, similarities) == {
        "rank": 1.0,
        "reciprocal_rank": 1.0,
        "found_1": 1.0,
        "found_5": 1.0,
        "candidates": 100.0,
    }
    sixth = score_similarities(94, similarities)
    assert (sixth["rank"], sixth["found_5"]) == (6.0, 0.0)
    assert sixth["reciprocal_rank"] == pytest.approx(1 / 6)


def test_measures_are_means_over_all_draws_of_99_others() -> None:
    rng = np.random.default_rng(0)
    similarities = rng.random(180)
    place = int(np.argsort(-similarities)[7])
    found = score_similarities(place, similarities)
    others = np.delete(similarities, place)
    drawn = [1 + np.sum(rng.choice(others, 99, replace=False) > similarities[place]) for _ in range(20_000)]
    ranks = np.array(drawn)
    assert found["candidates"] == 100.0
    assert found["rank"] == pytest.approx(1 + 7 * 99 / 179)
    assert found["rank"] == pytest.approx(ranks.mean(), rel=0.02)
    assert found["reciprocal_rank"] == pytest.approx(np.mean(1 / ranks), rel=0.02)
    assert found["found_1"] == pytest.approx(np.mean(ranks <= 1), abs=0.01)
    assert found["found_5"] == pytest.approx(np.mean(ranks <= 5), abs=0.01)


def test_a_model_that_tells_nothing_does_as_chance_does() -> None:
    candidates = Candidates(tuple(f"b{number}" for number in range(100)), ())
    chance = chance_row(Partner(candidates, 3))
    assert chance["found_1"] == pytest.approx(0.01)
    assert chance["found_5"] == pytest.approx(0.05)
    assert chance["rank"] == pytest.approx(50.5)
    # Ties count as half before, half behind: nobody gains by giving all the same.
    assert score_similarities(3, np.zeros(100))["rank"] == pytest.approx(50.5)
    assert score_similarities(0, np.zeros(1))["rank"] == 1.0


def test_candidates_are_the_beats_of_the_same_parts(store: FeatureStore, network: PairingNetwork) -> None:
    tracks = [track(number, "test", "drums" if number % 2 else "backing") for number in range(8)]
    found = partners(tracks, store)
    assert [truth.candidates.names[truth.place] for truth in found] == [one.values["beat"] for one in tracks]
    assert found[0].candidates.names == ("b000", "b002", "b004", "b006")
    assert found[0].candidates is found[2].candidates
    assert found[0].candidates is not found[1].candidates
    model = PairingModel(network, SPEC)
    vectors = found[0].candidates.vectors(model)
    assert vectors is found[2].candidates.vectors(model)
    row = score_track(found[2], model, store.get("tiny", "t002").astype(np.float32))
    similarities = vectors @ model.embed_take(store.get("tiny", "t002").astype(np.float32))
    assert row == score_similarities(1, similarities)
