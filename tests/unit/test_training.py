import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

from backbeat.augment import Augmentation
from backbeat.corpus.contract import Corpus, Track, write_beats, write_onsets
from backbeat.dataset import write_features, write_labels
from backbeat.errors import ConfigError, CorpusError
from backbeat.features import FeatureParams
from backbeat.learning import Optimisation, TaskModule
from backbeat.model import load_spec
from backbeat.music import DRUMS, Beats, Onsets
from backbeat.tracking import Tracking
from backbeat.training import Places, TaskSettings, TrainerSettings, task_class, train

FEATURES = FeatureParams(mel_bands=16)
NETWORK: dict[str, Any] = {"channels": [4, 4], "width": 8, "layers": 2, "kernel": 3}
LOSS: dict[str, dict[str, Any]] = {
    "beat": {"beat_weight": 4.0, "downbeat_weight": 8.0, "tolerance_frames": 1},
    "onset": {"onset_weight": 3.0, "drum_weight": 5.0, "velocity": 1.0, "tolerance_frames": 1},
    "genre": {"smoothing": 0.1},
}
TRAINER = TrainerSettings(seed=3, accelerator="cpu", devices="1", precision="32-true", threads=1, progress=False)
LICENCES = ("CC0-1.0", "CC-BY-4.0 AND MIT")
NO_TRACKING = Tracking("", "test")


def settings(name: str, epochs: int = 2, **changes: Any) -> TaskSettings:
    decoding = {"window_s": 2.0, "hop_s": 1.0} if name == "genre" else {}
    optimisation = Optimisation(epochs, 4, 2.0, 5e-3, 0.01, 1.0, 0)
    augmentation = Augmentation(stretch=1.1, gain_db=6, tone_db=2, shift_bands=1, lowpass=0.2, noise=0.2, masks=1)
    made = TaskSettings(name, dict(NETWORK), dict(LOSS[name]), decoding, optimisation, augmentation)
    return replace(made, **changes)


@pytest.fixture
def places(tmp_path: Path) -> Callable[[str], Places]:
    """Twelve tracks of 8 s, a pulse at every beat: low bands in one genre, high bands in the other."""
    rng = np.random.default_rng(0)
    root = tmp_path / "corpora/tiny"
    tracks, spectrograms = [], {}
    for number in range(12):
        split = "train" if number < 8 else "valid" if number < 10 else "test"
        genre = ("low", "high")[number % 2]
        tracks.append(Track(f"t{number:02d}", f"audio/t{number:02d}.wav", split, genre, licence=LICENCES[number % 2]))
        times_s = np.arange(0.2, 7.9, 0.4 + 0.02 * number)
        spectrogram = 0.1 * rng.random((801, 16), dtype=np.float32)
        for time_s in times_s:
            spectrogram[round(time_s * 100) :][:3, (0 if genre == "low" else 8) :][:, :8] += 3.0
        spectrograms[tracks[-1].id] = spectrogram
        corpus = Corpus(root, tuple(tracks))
        write_beats(corpus.beats_path(tracks[-1]), Beats(times_s, np.arange(times_s.size) % 4 + 1))
        classes = [DRUMS[index % 2] for index in range(times_s.size)]
        write_onsets(corpus.onsets_path(tracks[-1]), Onsets(times_s, classes, np.full(times_s.size, 0.7)))
    write_labels(tmp_path / "labels", Corpus(root, tuple(tracks)))
    write_features(tmp_path / "features/tiny", FEATURES, spectrograms.items())

    def make(name: str) -> Places:
        base = tmp_path / name
        return Places(
            labels=tmp_path / "labels",
            features=tmp_path / "features",
            stems=tmp_path / "stems",
            listening=tmp_path / "listening",
            output=base / "model",
            checkpoints=base / "checkpoints",
            curves=base / "curves.csv",
            lock=tmp_path / "dvc.lock",
        )

    return make


def weights(where: Places) -> dict[str, np.ndarray]:
    loaded: dict[str, np.ndarray] = safetensors.numpy.load_file(where.output / "model.safetensors")
    return loaded


@pytest.mark.parametrize("task", ["beat", "onset", "genre"])
def test_each_task_trains_to_a_model_that_loads(places: Callable[[str], Places], task: str) -> None:
    from backbeat.evaluation.scoring import load

    where = places("one")
    spec = train(settings(task), TRAINER, NO_TRACKING, where, {})
    assert load_spec(where.output, task) == spec
    assert spec.features == FEATURES
    assert spec.data_hash.startswith("tiny=sha256:")
    assert spec.licence == "CC-BY-4.0 AND CC0-1.0 AND MIT"
    assert spec.metrics
    assert all(0 <= value <= 1 for value in spec.metrics.values())
    assert task_class(task).objective in spec.metrics, "a sweep would have nothing to maximise"
    model = load(task, where.output)
    assert model.spec == spec
    rows = where.curves.read_text().splitlines()
    assert len(rows) == 3
    assert {"epoch", "train_loss", "valid_loss"} <= set(rows[0].split(","))
    assert not where.checkpoints.exists()


def test_pulses_are_learnt(places: Callable[[str], Places]) -> None:
    spec = train(settings("onset", epochs=25), TRAINER, NO_TRACKING, places("one"), {})
    assert spec.metrics["onset_f"] > 0.9


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(places: Callable[[str], Places]) -> None:
    made = []
    for name, seed in (("one", 3), ("two", 3), ("three", 4)):
        train(settings("beat"), replace(TRAINER, seed=seed), NO_TRACKING, places(name), {})
        made.append(weights(places(name)))
    for name in made[0]:
        np.testing.assert_array_equal(made[0][name], made[1][name])
    assert any(not np.array_equal(made[0][name], made[2][name]) for name in made[0])
    assert places("one").curves.read_text() == places("two").curves.read_text()


@pytest.mark.parametrize("gets_worse", [False, True])
def test_an_interrupted_training_goes_on_to_the_same_end(
    places: Callable[[str], Places], monkeypatch: pytest.MonkeyPatch, gets_worse: bool
) -> None:
    if gets_worse:  # epochs that are not the best are gone on from all the same
        monkeypatch.setattr(
            TaskModule, "validation_step", lambda self, *_: self.log("valid_loss", float(self.current_epoch))
        )
    train(settings("beat", epochs=4), TRAINER, NO_TRACKING, places("whole"), {})

    def interrupt(self: TaskModule) -> None:
        if self.current_epoch == 2:
            raise RuntimeError("power cut")

    with monkeypatch.context() as patch:
        patch.setattr(TaskModule, "on_train_epoch_start", interrupt)
        with pytest.raises(RuntimeError, match="power cut"):
            train(settings("beat", epochs=4), TRAINER, NO_TRACKING, places("cut"), {})
    assert not places("cut").output.exists()
    epochs: list[int] = []

    def count(self: TaskModule) -> None:
        epochs.append(self.current_epoch)

    monkeypatch.setattr(TaskModule, "on_train_epoch_start", count)
    train(settings("beat", epochs=4), TRAINER, NO_TRACKING, places("cut"), {})
    assert epochs == [2, 3]
    for name, value in weights(places("whole")).items():
        np.testing.assert_array_equal(weights(places("cut"))[name], value)
    assert places("cut").curves.read_text() == places("whole").curves.read_text()


def test_the_dvc_hash_of_the_corpus_travels_with_the_model(places: Callable[[str], Places]) -> None:
    where = places("one")
    where.lock.write_text("stages:\n  corpus@tiny:\n    outs:\n    - path: data/corpora/tiny\n      md5: abc123.dir\n")
    assert train(settings("genre"), TRAINER, NO_TRACKING, where, {}).data_hash == "tiny=md5:abc123.dir"


def test_an_empty_split_and_settings_that_do_not_fit_are_refused(places: Callable[[str], Places]) -> None:
    where = places("one")
    with pytest.raises(ConfigError, match="settings of task beat do not fit it"):
        train(settings("beat", network={"depth": 3}), TRAINER, NO_TRACKING, where, {})
    path = where.labels / "beat/tiny.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps({**line, "split": "train"}) + "\n" for line in lines))
    with pytest.raises(CorpusError, match="the valid split is empty, so beat cannot be trained"):
        train(settings("beat"), TRAINER, NO_TRACKING, where, {})


def test_a_run_carries_everything_that_says_where_the_model_came_from(
    places: Callable[[str], Places], mlflow_uri: str, tmp_path: Path
) -> None:
    import mlflow

    tracking = Tracking(mlflow_uri, "tests")
    where = places("one")
    where.lock.write_text("stages:\n  corpus@tiny:\n    outs:\n    - path: data/corpora/tiny\n      md5: abc123.dir\n")
    spec = train(settings("genre"), TRAINER, tracking, where, {"task": {"name": "genre", "network": {"width": 8}}})
    client = mlflow.MlflowClient(tracking.uri)
    run = client.get_run(spec.run)
    assert run.info.status == "FINISHED"
    assert run.data.params["task.network.width"] == "8"
    assert run.data.tags["task"] == "genre"
    assert run.data.metrics["valid_accuracy"] == pytest.approx(spec.metrics["accuracy"], abs=1e-6)
    assert len(client.get_metric_history(spec.run, "valid_loss")) == 2
    (dataset,) = run.inputs.dataset_inputs
    assert (dataset.dataset.name, dataset.dataset.digest) == ("tiny", "abc123.dir")
    names = {item.path for item in client.list_artifacts(spec.run)}
    assert {"environment.txt", "folder"} <= names
    (logged,) = client.search_logged_models(experiment_ids=[run.info.experiment_id])
    model = mlflow.pyfunc.load_model(logged.model_uri)
    assert not list(tmp_path.rglob("*.pkl")) + list(tmp_path.rglob("*.pickle"))
    signature = model.metadata.signature
    assert signature.inputs.inputs[0].shape == (-1, -1, 16)
    # Free batch and length: neither is that of the example.
    assert model.predict(np.zeros((3, 333, 16), np.float32)).shape == (3, 2)


def test_a_crash_ends_the_run_as_failed(
    places: Callable[[str], Places], mlflow_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow

    def crash(self: TaskModule) -> None:
        raise RuntimeError("out of memory")

    tracking = Tracking(mlflow_uri, "tests")
    monkeypatch.setattr(TaskModule, "on_train_epoch_start", crash)
    with pytest.raises(RuntimeError, match="out of memory"):
        train(settings("beat"), TRAINER, tracking, places("one"), {})
    mlflow.set_tracking_uri(tracking.uri)
    (run,) = mlflow.search_runs(experiment_names=["tests"], output_format="list")
    assert run.info.status == "FAILED"
