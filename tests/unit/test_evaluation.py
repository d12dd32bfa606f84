"""Scores of tracks whose truth is known, through models that read the truth (or a lie) off the spectrogram."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from listeners import FEATURES, STYLES, make_track, network_of, reading_model, spec_of, write_made

from backbeat.corpus.annotated import AnnotatedTrack
from backbeat.dataset import FeatureStore, read_labels
from backbeat.errors import ConfigError, CorpusError, ModelError
from backbeat.evaluation.benchmark import DrumsAsOnsets, load_models, only_drums_annotated, score_sets
from backbeat.evaluation.gallery import shown_tracks
from backbeat.evaluation.results import check_features, corpus_facts, read_results, read_tracks, write_results
from backbeat.evaluation.scoring import EvaluationSettings, examples_from_features, score, summary, to_metrics, worst
from backbeat.model import save_model
from backbeat.music import Beats, Onsets

SETTINGS = EvaluationSettings(confidence=0.95, resamples=200, seed=7, pictures=2)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Twelve tracks, six to test on: of these one is late by 0.2 s and one sounds like another style."""
    folder = tmp_path_factory.mktemp("made")
    tracks = [make_track(number, "test" if number < 6 else "train" if number < 9 else "valid") for number in range(12)]
    tracks[1] = make_track(1, late_s=0.2)
    tracks[2] = make_track(2, genre="funk")
    write_made(folder, tracks)
    return folder


def scored(root: Path, task: str, **extra):
    model = reading_model(task, **extra)
    tracks = read_labels(root / "labels", task)
    store = FeatureStore(root / "features")
    examples = examples_from_features(task, tracks, store)
    return model, tracks, store, examples, score(model, examples)


def test_beats_read_off_the_spectrogram_are_right_but_for_the_late_track(root):
    _, _, _, _, table = scored(root, "beat")
    assert list(table["id"]) == [f"t{number:03d}" for number in range(6)]
    by_id = table.set_index("id")
    right = by_id.drop("t001")
    for name in ("beat_f", "downbeat_f", "cmlt", "amlt", "meter_correct", "tempo_acc1", "tempo_acc2"):
        assert (right[name] == 1.0).all(), name
    assert by_id.at["t001", "beat_f"] == 0.0
    assert by_id.at["t001", "tempo_acc1"] == 1.0


def test_onsets_and_drums(root):
    _, _, _, _, table = scored(root, "onset")
    by_id = table.set_index("id")
    assert (by_id.drop("t001")[["onset_f", "drums_f", "kick_f", "snare_f", "hihat_closed_f"]] == 1.0).all(axis=None)
    assert by_id.at["t001", "drums_f"] == 0.0
    assert by_id["ride_f"].isna().all()


def test_the_summary_counts_tracks_and_knows_styles(root):
    _, _, _, _, table = scored(root, "beat")
    groups = summary("beat", table, SETTINGS)
    assert set(groups) == {"all", *STYLES}
    assert groups["all"]["beat_f"].value == pytest.approx(5 / 6)
    assert groups["all"]["beat_f"].count == 6
    assert groups["jazz"]["beat_f"].value == pytest.approx(0.5)
    assert groups["funk"]["beat_f"].value == 1.0
    onset = summary("onset", scored(root, "onset")[4], SETTINGS)
    assert "ride_micro_f" not in onset["all"]
    tp, wrong = 5 * 2 * 30, 2 * 30 - 1  # of the late track's hits the last is past the end
    assert onset["all"]["drums_micro_f"].value == pytest.approx(2 * tp / (2 * tp + 60 + wrong), abs=0.01)


def test_genre_scores(root):
    _, _, _, _, table = scored(root, "genre")
    assert list(table["correct"]) == [1.0, 1.0, 0.0, 1.0, 1.0, 1.0]
    groups = summary("genre", table, SETTINGS)
    assert groups["all"]["accuracy"].value == pytest.approx(5 / 6)
    assert groups["all"]["calibration_error"].value == pytest.approx(5 / 6 - 0.8)
    assert groups["waltz"]["accuracy"].value == 0.5
    truth = table.set_index("id")["truth_probability"]
    assert truth["t000"] == pytest.approx(0.8)
    assert truth["t002"] == pytest.approx(0.1)


def test_a_genre_that_the_model_does_not_know_is_left_out(root):
    _, _, _, examples, _ = scored(root, "genre")
    model = reading_model("genre")
    strange = [replace(examples[0], truth="polka"), examples[1]]
    assert list(score(model, strange)["id"]) == ["t001"]


def test_the_worst_come_first_and_the_median_is_shown_too(root):
    _, _, _, _, table = scored(root, "beat")
    assert list(worst("beat", table, 2)) == [("made", "t001"), ("made", "t000")]
    shown = shown_tracks("beat", table, 2)
    assert [(file, name[1]) for file, _, name in shown] == [
        ("worst1.png", "t001"),
        ("worst2.png", "t000"),
        ("median.png", "t003"),
    ]
    assert shown[0][1] == "Worst of 6 tracks: made/t001"
    assert [file for file, _, _ in shown_tracks("beat", table, 10)] == [f"worst{rank}.png" for rank in range(1, 7)]


def test_an_empty_split_is_refused(root):
    tracks = [track for track in read_labels(root / "labels", "beat") if track.split != "test"]
    with pytest.raises(CorpusError, match="no track of the test split is annotated for beat"):
        examples_from_features("beat", tracks, FeatureStore(root / "features"))


def test_features_of_another_front_end_are_refused(root):
    spec = replace(spec_of("beat"), features=replace(FEATURES, mel_bands=40))
    with pytest.raises(ModelError, match="was trained on"):
        check_features(spec, FeatureStore(root / "features"), ["made"])


def test_corpus_facts(root):
    tracks = read_labels(root / "labels", "beat")
    facts = corpus_facts("beat", tracks, FeatureStore(root / "features"))["made"]
    assert facts["tracks"] == {"train": 3, "valid": 3, "test": 6}
    assert facts["hours"]["test"] == pytest.approx(6 * 16.01 / 3600, abs=1e-4)
    assert facts["styles"]["waltz"] == {"train": 1, "valid": 1, "test": 2}
    assert facts["meters"] == {"4/4": 8, "3/4": 4}
    onsets = corpus_facts("onset", read_labels(root / "labels", "onset"), FeatureStore(root / "features"))["made"]
    assert onsets["hits"]["hihat_closed"] == 12 * 30
    assert onsets["hits"]["kick"] == onsets["hits"]["snare"] == 12 * 15


def write(root: Path, where: Path, task: str, **extra):
    model, tracks, store, examples, table = scored(root, task, **extra)
    facts = corpus_facts(task, tracks, store)
    metrics = where / "metrics" / f"{task}.json"
    return write_results(where / task, metrics, model, examples, table, SETTINGS, facts)


def test_two_runs_give_the_same_files_but_for_the_run(root, tmp_path):
    for name in ("one", "two"):
        write(root, tmp_path / name, "beat", run=name)
    files = sorted(path.name for path in (tmp_path / "one" / "beat").iterdir())
    assert files == [
        "median.png", "styles.csv", "styles.svg", "summary.json", "tracks.csv", "worst1.png", "worst2.png",
    ]  # fmt: skip
    for name in [*(f"beat/{file}" for file in files if file != "summary.json"), "metrics/beat.json"]:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes(), name
    first, second = (json.loads((tmp_path / name / "beat/summary.json").read_text()) for name in ("one", "two"))
    assert first.pop("thread") == {"run": "one", "commit": "abc123"}
    assert second.pop("thread") == {"run": "two", "commit": "abc123"}
    assert first == second
    assert "run" not in first["model"]
    assert first["model"]["data_hash"] == "made=md5:0123"


def test_results_come_back_as_they_were_written(root, tmp_path):
    made = write(root, tmp_path, "onset")
    read = read_results(tmp_path / "onset")
    assert read.task == "onset"
    assert read.pictures == made.pictures
    assert read.groups["all"]["kick_micro_f"].value == pytest.approx(made.groups["all"]["kick_micro_f"].value, abs=1e-6)
    assert np.isnan(read.groups["all"]["velocity_mae"].low) == np.isnan(made.groups["all"]["velocity_mae"].low)
    assert len(read_tracks(tmp_path / "onset")) == 6
    metrics = json.loads((tmp_path / "metrics/onset.json").read_text())
    assert metrics["tracks"] == 6
    assert metrics["kick_micro_f"] == round(made.groups["all"]["kick_micro_f"].value, 6)


def test_genre_answers_are_listed_for_the_confusion_plot(root, tmp_path):
    write(root, tmp_path, "genre")
    answers = pd.read_csv(tmp_path / "genre/confusion.csv")
    assert list(answers.columns) == ["corpus", "id", "actual", "predicted"]
    assert answers.loc[answers["id"] == "t002", ["actual", "predicted"]].to_numpy().tolist() == [["waltz", "funk"]]
    styles = pd.read_csv(tmp_path / "genre/styles.csv").set_index("style")
    assert styles["accuracy"].to_dict() == {"funk": 1.0, "jazz": 1.0, "waltz": 0.5}


def test_missing_and_damaged_results_name_their_file(tmp_path):
    with pytest.raises(CorpusError, match=r"summary\.json: is missing"):
        read_results(tmp_path)
    (tmp_path / "summary.json").write_text("{}")
    with pytest.raises(CorpusError, match=r"summary\.json: is damaged"):
        read_results(tmp_path)


def test_metrics_hold_a_number_a_measure(root):
    table = scored(root, "beat")[4].head(1)
    metrics = to_metrics(summary("beat", table, SETTINGS))
    assert metrics["beat_f"] == 1.0
    assert metrics["tracks"] == 1
    assert all(isinstance(value, float | int) for value in metrics.values())


def annotated(folder: Path, name: str, onsets: Onsets | None = None, **extra) -> AnnotatedTrack:
    """Write half a minute of clicks, two a second, and say what they are."""
    path = folder / f"{name}.wav"
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = np.zeros(22050 * 12, dtype=np.float32)
    for start in range(0, samples.size - 600, 11025):
        samples[start : start + 600] = np.sin(np.arange(600) * 0.3) * np.linspace(0.8, 0, 600)
    soundfile.write(path, samples, 22050)
    return AnnotatedTrack(id=name, audio_path=path, onsets=onsets, **extra)


def test_librosa_stands_beside_the_model_and_hears_clicks(tmp_path):
    beats = Beats(np.arange(0, 11.9, 0.5))
    tracks = [annotated(tmp_path, name, beats=beats) for name in ("a", "b")]
    (found,) = score_sets({"beat": reading_model("beat")}, {"clicks": tracks}, SETTINGS)
    assert (found.name, found.tracks, found.known, found.note) == ("clicks", 2, 2, "")
    assert found.peer["beat_f"].value > 0.9
    assert "downbeat_f" not in found.peer
    assert "downbeat_f" not in found.groups["all"]
    value = found.to_dict()
    assert json.loads(json.dumps(value, allow_nan=False)) == value
    assert value["librosa"]["beat_f"]["count"] == 2
    (alone,) = score_sets({"beat": reading_model("beat")}, {"clicks": tracks}, SETTINGS, peer=False)
    assert alone.peer == {}


def test_sets_that_are_not_annotated_for_a_task_are_left_out(tmp_path):
    track = annotated(tmp_path, "a", genre="polka")
    models = {task: reading_model(task) for task in ("beat", "onset", "genre")}
    assert score_sets(models, {"set": [track]}, SETTINGS) == []
    known = annotated(tmp_path, "b", genre="jazz")
    (found,) = score_sets(models, {"set": [track, known]}, SETTINGS)
    assert (found.task, found.tracks, found.known) == ("genre", 2, 1)
    assert found.note == "the model does not know the genre of 1 other track"


def test_where_only_drums_are_annotated_the_onsets_are_the_drum_hits(tmp_path):
    hits = Onsets(np.array([0.0, 0.5]), ["kick", "snare"])
    notes = Onsets(np.array([0.0, 0.5]), ["kick", "note"])
    assert only_drums_annotated([annotated(tmp_path, "a", hits)])
    assert not only_drums_annotated([annotated(tmp_path, "b", hits), annotated(tmp_path, "c", notes)])
    assert not only_drums_annotated([annotated(tmp_path / "drum_only", "d", hits)])
    assert only_drums_annotated([annotated(tmp_path / "full_mix", "e", notes)])
    (found,) = score_sets(
        {"onset": reading_model("onset")}, {"x": [annotated(tmp_path, "a", hits)]}, SETTINGS, peer=False
    )
    assert found.note.startswith("only drums are annotated")


def test_drums_as_onsets_takes_hits_for_onsets():
    spec = spec_of("onset")
    model = DrumsAsOnsets(network_of(spec).eval(), spec)
    onsets, drums = model.detect(np.zeros((200, FEATURES.mel_bands), dtype=np.float32))
    assert onsets is drums


def test_models_are_loaded_by_task(tmp_path):
    with pytest.raises(ModelError, match="holds no model for beat or onset or genre"):
        load_models(tmp_path)
    with pytest.raises(ConfigError, match="there is no task 'melody'"):
        load_models(tmp_path, ["melody"])
    spec = spec_of("genre")
    save_model(tmp_path / "genre", network_of(spec), spec, "card")
    assert list(load_models(tmp_path)) == ["genre"]


def test_the_command_scores_a_folder(tmp_path):
    from typer.testing import CliRunner

    from backbeat.cli import app

    annotated(tmp_path / "set", "a")
    (tmp_path / "set/a.beats").write_text("".join(f"{0.5 * beat:g}\n" for beat in range(23)))
    spec = spec_of("beat")
    save_model(tmp_path / "models/beat", network_of(spec), spec, "card")
    table = tmp_path / "tracks.csv"
    arguments = ["evaluate", str(tmp_path / "set"), "--models", str(tmp_path / "models")]
    done = CliRunner().invoke(app, [*arguments, "--json", "--tracks", str(table)], catch_exceptions=False)
    assert done.exit_code == 0
    (found,) = json.loads(done.stdout)
    assert (found["set"], found["task"], found["tracks"], found["model"]) == ("set", "beat", 1, "backbeat-beat 0.1.0")
    assert found["librosa"]["beat_f"]["value"] > 0.9
    assert pd.read_csv(table)[["task", "corpus", "id"]].to_numpy().tolist() == [["beat", "set", "a"]]
    shown = CliRunner().invoke(app, [*arguments, "--no-peer"], catch_exceptions=False)
    assert "Beats and bars" in shown.stdout
    assert "librosa" not in shown.stdout
    with pytest.raises(ModelError, match="holds no model for onset"):
        CliRunner().invoke(app, [*arguments, "--task", "onset"], catch_exceptions=False)
    with pytest.raises(ConfigError, match=r"a table is a \.csv"):
        CliRunner().invoke(app, [*arguments, "--tracks", "a.txt"], catch_exceptions=False)
