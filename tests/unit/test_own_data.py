"""A user's own recordings to a model: by the command line, from a handful of files."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from tiny_models import save_tiny_models
from typer.testing import CliRunner

from backbeat.cli import app
from backbeat.errors import ConfigError, CorpusError, ModelError
from backbeat.evaluation.scoring import EvaluationSettings
from backbeat.genre.classifier import GenreClassifier
from backbeat.genre.head import fit_own_genres, heard
from backbeat.genre.timbre import TIMBRE_SIZE, timbre_statistics
from backbeat.model import load_spec
from backbeat.own_data import learn, settings_of
from backbeat.tracking import Tracking
from backbeat.training import TrainerSettings

RATE_HZ = 24000
TRAINER = TrainerSettings(3, "cpu", "1", "32-true", 1, progress=False)
EVALUATION = EvaluationSettings(0.95, 50, 7, pictures=0)


@pytest.fixture
def models(tmp_path: Path) -> dict[str, Path]:
    return save_tiny_models(tmp_path / "tiny")


def write_music(folder: Path, each: int = 4, *, beats: bool = False) -> Path:
    """Two genres that sound nothing alike: dull and bright noise in pulses."""
    rng = np.random.default_rng(0)
    for genre in ("dull", "bright"):
        for number in range(each):
            noise = rng.standard_normal(4 * RATE_HZ)
            shaped = np.cumsum(noise) / 100 if genre == "dull" else np.diff(noise, prepend=0.0)
            times_s = np.arange(0.3, 3.9, 0.4 + 0.02 * number)
            envelope = np.full(noise.size, 0.02)
            for time_s in times_s:
                start = round(time_s * RATE_HZ)
                envelope[start : start + 2400] += np.exp(-np.arange(2400) / 500)[: envelope.size - start]
            path = folder / genre / f"{genre}{number}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, 0.3 * envelope * shaped / np.abs(shaped).max(), RATE_HZ)
            if beats:
                path.with_suffix(".beats").write_text("".join(f"{time_s:.3f}\n" for time_s in times_s))
    return folder


def test_timbre_tells_what_sounds_different_and_takes_any_length() -> None:
    rng = np.random.default_rng(1)
    low, high = np.zeros((300, 32)), np.zeros((300, 32))
    low[:, :16], high[:, 16:] = 1.0, 1.0
    noise = 0.01 * rng.standard_normal((300, 32))
    low, high = low + noise, high + noise
    first, again = timbre_statistics(low[:150]), timbre_statistics(low[150:])
    assert first.shape == (TIMBRE_SIZE,)
    assert np.linalg.norm(first - again) < 0.1 * np.linalg.norm(first - timbre_statistics(high))
    assert np.isfinite(timbre_statistics(low[:1])).all()
    assert timbre_statistics(low[:, :12]).shape == (TIMBRE_SIZE,)


def test_own_genres_are_judged_by_heads_that_did_not_hear_them(models: dict[str, Path]) -> None:
    start = GenreClassifier.from_folder(models["genre"])
    rng = np.random.default_rng(2)
    genres = ["a", "b"] * 8
    # Nothing but noise to learn from: a head that had heard its tracks would know them all the same.
    measures = rng.standard_normal((16, 8 + TIMBRE_SIZE))
    own = fit_own_genres(start, measures, genres, [str(number) for number in range(16)], 0)
    right = sum(
        own.classifier.spec.classes[row.argmax()] == name for row, name in zip(own.probabilities, genres, strict=True)
    )
    assert right <= 13
    np.testing.assert_allclose(own.probabilities.sum(axis=1), 1)
    head = own.classifier.network.head
    logits = measures @ head.weight.detach().numpy().T + head.bias.detach().numpy()
    assert [own.classifier.spec.classes[index] for index in logits.argmax(axis=1)] == genres
    with pytest.raises(CorpusError, match="genre 'b' has one recording or source only"):
        fit_own_genres(start, measures, genres, ["x" if name == "b" else str(i) for i, name in enumerate(genres)], 0)
    with pytest.raises(CorpusError, match="needs two genres"):
        fit_own_genres(start, measures[:4], ["a"] * 4, list("wxyz"), 0)


def test_a_genre_model_from_eight_files(tmp_path: Path, mlflow_uri: str, models: dict[str, Path]) -> None:
    source, out = write_music(tmp_path / "music"), tmp_path / "mine"
    tracking = Tracking(mlflow_uri, "tests")
    lesson = learn(
        "genre", source, out, start=models["genre"], trainer=TRAINER, tracking=tracking, evaluation=EVALUATION
    )
    assert lesson.after["accuracy"].value == 1.0
    assert lesson.before == {}
    assert lesson.tracks == 8
    assert (
        "Trained on 8 tracks, each of them scored by a model that was not shown it." in (out / "README.md").read_text()
    )
    spec = load_spec(out, "genre")
    assert spec.classes == ("bright", "dull")
    assert spec.run
    assert spec.data_hash.startswith("noise=md5:00,own=sha256:")
    model = GenreClassifier.from_folder(out)
    from backbeat.audio import decode
    from backbeat.features import LogMel, log_mel

    front_end = LogMel(spec.features)
    for name in spec.classes:
        found = model.classify(log_mel(decode(source / name / f"{name}0.wav", sample_rate_hz=RATE_HZ).mono, front_end))
        assert found.label == name
        assert sum(found.probabilities.values()) == pytest.approx(1)
        assert not found.unfamiliar
    # A tone is like neither; the head still has an answer, and says that it is none to rely on.
    tone = np.sin(2 * np.pi * 1000 * np.arange(4 * RATE_HZ) / RATE_HZ).astype(np.float32)
    found = model.classify(log_mel(0.3 * tone, front_end))
    assert found.unfamiliar
    assert found.unsure
    assert not list(tmp_path.glob(".mine*"))
    again = heard(GenreClassifier.from_folder(models["genre"]), [np.zeros((400, 32), np.float32)])
    np.testing.assert_array_equal(again, heard(model, [np.zeros((400, 32), np.float32)]))


def test_a_beat_model_goes_on_learning(tmp_path: Path, models: dict[str, Path]) -> None:
    source, out = write_music(tmp_path / "music", each=5, beats=True), tmp_path / "mine"
    lesson = learn(
        "beat",
        source,
        out,
        start=models["beat"],
        trainer=TRAINER,
        tracking=Tracking("", ""),
        evaluation=EVALUATION,
        epochs=2,
    )
    assert lesson.held_out == "the test split"
    assert lesson.tracks == 2
    assert set(lesson.before) == set(lesson.after) >= {"tempo_acc1"}
    assert load_spec(out, "beat").network == load_spec(models["beat"]).network


def test_an_interrupted_run_is_done_again_by_the_same_command(
    tmp_path: Path, models: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    source, out = write_music(tmp_path / "music"), tmp_path / "mine"
    common = {"trainer": TRAINER, "tracking": Tracking("", ""), "evaluation": EVALUATION}

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("backbeat.own_data.save_model", interrupt)
        with pytest.raises(KeyboardInterrupt):
            learn("genre", source, out, start=models["genre"], **common)
    assert not out.exists()
    assert learn("genre", source, out, start=models["genre"], **common).tracks == 8
    assert not (tmp_path / ".mine.training").exists()


def test_what_will_not_do_is_refused_and_nothing_is_written(tmp_path: Path, models: dict[str, Path]) -> None:
    source, out = write_music(tmp_path / "music", beats=True), tmp_path / "mine"
    common = {"trainer": TRAINER, "tracking": Tracking("", ""), "evaluation": EVALUATION}
    with pytest.raises(ModelError, match="is a model for beat, not for genre"):
        learn("genre", source, out, start=models["beat"], **common)
    (source / "dull/dull0.wav").write_text("words")
    told: list[str] = []
    with pytest.raises(CorpusError, match="has 1 error, "):
        learn("genre", source, out, start=models["genre"], **common, report=lambda problem: told.append(str(problem)))
    assert told == ["audio/dull0.wav: is not audio: it holds text"]
    assert not [path for path in tmp_path.iterdir() if "mine" in path.name]


def test_the_command_writes_a_model_and_says_how_good_it_is(tmp_path: Path, models: dict[str, Path]) -> None:
    source, out = write_music(tmp_path / "music"), tmp_path / "mine"
    command = ["train", "genre", str(source), "--out", str(out), "--from", str(models["genre"]), "--tracking", ""]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    assert "after" in done.output
    assert "by a head that had not heard it" in " ".join(done.output.split())
    assert json.loads((out / "spec.json").read_text())["classes"] == ["bright", "dull"]
    (tmp_path / "full").mkdir()
    (tmp_path / "full/letter.txt").write_text("dear")
    refused = CliRunner().invoke(app, [*command[:4], str(tmp_path / "full"), *command[5:]])
    assert isinstance(refused.exception, ConfigError)
    assert (tmp_path / "full/letter.txt").read_text() == "dear"


def test_the_settings_are_those_of_the_pipeline() -> None:
    assert settings_of("onset")["loss"]["drum_weight"] > 0
    assert settings_of("beat")["features"]["mel_bands"] == 96
