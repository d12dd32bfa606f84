import csv
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import jams
import jsonschema
import numpy as np
import pytest
from hostile import music
from tiny_models import GENRES, save_tiny_models

from backbeat.analysis import (
    Analysis,
    Analyzer,
    BeatEvent,
    DrumEvent,
    GenreGuess,
    KeyGuess,
    ModelOrigin,
    OnsetEvent,
    analysis_schema,
)
from backbeat.analysis.export import EVENT_COLUMNS, SUMMARY_COLUMNS, summary_row, write_events_csv, write_jams
from backbeat.analysis.export import write_summary_csv as write_summary
from backbeat.analysis.plots import clock, close_up_s, headline, plot_analysis, running_median
from backbeat.audio import AudioLimits, encode
from backbeat.errors import AnnotationError, AudioLimitError, AudioNotFoundError, ConfigError, ModelError
from backbeat.features import FeatureParams, LogMel, log_mel

ORIGIN = ModelOrigin("backbeat-beat", "1.0", "run1", "corpus=md5:1")
ANALYSIS = Analysis(
    path="music/a song.wav",
    duration_s=8.0,
    sample_rate_hz=44100,
    tempo_bpm=120.0,
    time_signature="4/4",
    beats=tuple(BeatEvent(0.5 * number, number % 4 + 1) for number in range(16)),
    onsets=(OnsetEvent(0.0, 0.9), OnsetEvent(0.5, 0.4)),
    drums=(DrumEvent(0.0, "kick", 0.8), DrumEvent(0.5, "snare", 0.7), DrumEvent(0.5, "hihat_open", 0.3)),
    genre=GenreGuess("rock", {"rock": 0.7, "jazz": 0.3}, unsure=False),
    key=KeyGuess("Eb", "minor", 0.6),
    loudness_lufs=-9.25,
    models={"beat": ORIGIN, "onset": replace(ORIGIN, run=None), "genre": replace(ORIGIN, data_hash=None)},
    warnings=("truncated: 8.0 s of 9.0 s decoded",),
)
NOTHING = replace(
    ANALYSIS, tempo_bpm=None, time_signature=None, beats=(), onsets=(), drums=(), key=None, loudness_lufs=None
)


def validate(value: dict) -> None:
    jsonschema.Draft202012Validator(analysis_schema()).validate(value)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return save_tiny_models(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def analyzer(models: dict[str, Path]) -> Analyzer:
    return Analyzer.load(models)


@pytest.fixture(scope="module")
def song(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("audio") / "song.wav"
    encode(path, music(seconds=6.0, rate_hz=22050), 22050)
    return path


def test_the_schema_is_one_and_takes_what_is_made():
    jsonschema.Draft202012Validator.check_schema(analysis_schema())
    validate(ANALYSIS.to_dict())
    validate(NOTHING.to_dict())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("tempo_bpm", 0),
        ("time_signature", "4"),
        ("drums", [{"time_s": 0, "drum": "cowbell", "velocity": 1}]),
        ("beats", [{"time_s": -1, "position": 1}]),
        ("beats", [{"time_s": 1, "position": 0}]),
        ("models", {}),
        ("mood", "happy"),
    ],
)
def test_the_schema_refuses(name, value):
    with pytest.raises(jsonschema.ValidationError):
        validate(ANALYSIS.to_dict() | {name: value})


@pytest.mark.parametrize("analysis", [ANALYSIS, NOTHING])
def test_round_trip(analysis):
    assert Analysis.from_dict(analysis.to_dict()) == analysis


def test_reading_names_what_is_wrong():
    value = ANALYSIS.to_dict()
    with pytest.raises(AnnotationError, match="schema 99"):
        Analysis.from_dict(value | {"schema_version": 99})
    with pytest.raises(AnnotationError, match="without 'genre'"):
        Analysis.from_dict({name: part for name, part in value.items() if name != "genre"})
    with pytest.raises(AnnotationError, match="malformed"):
        Analysis.from_dict(value | {"beats": [{"when": 1}]})


def test_analyses_a_file(analyzer, song):
    analysis, evidence = analyzer.analyze_with_evidence(song)
    validate(analysis.to_dict())
    assert analysis.duration_s == pytest.approx(6.0, abs=1e-3)
    assert (analysis.sample_rate_hz, analysis.path) == (22050, str(song))
    assert str(analysis.key.tonic) == "A"  # the chord is A, C sharp, E
    assert analysis.key.mode == "major"
    assert analysis.models["beat"] == ModelOrigin("tiny-beat", "0.0.1", "run-beat", "noise=md5:00")
    assert analysis.models["onset"].run is None
    assert sum(analysis.genre.probabilities.values()) == pytest.approx(1, abs=1e-3)
    assert set(analysis.genre.probabilities) == set(GENRES)
    assert all(0 <= event.time_s <= 6.0 for event in (*analysis.beats, *analysis.onsets, *analysis.drums))
    assert evidence.beat_activations.shape == (301, 2)
    assert evidence.onset_activation.shape == (601,)
    assert evidence.outline.shape[0] == 2
    assert (evidence.outline[0] <= evidence.outline[1]).all()


def test_file_and_samples_agree(analyzer, song):
    import pyloudnorm
    import soundfile

    samples, rate_hz = soundfile.read(song, dtype="float32")
    from_file, from_samples = analyzer.analyze(song), analyzer.analyze_audio(samples.T, rate_hz, str(song))
    assert from_samples.genre == from_file.genre
    assert from_samples.key == from_file.key
    assert [hit.drum for hit in from_samples.drums] == [hit.drum for hit in from_file.drums]
    expected = pyloudnorm.Meter(rate_hz).integrated_loudness(samples)
    assert from_file.loudness_lufs == from_samples.loudness_lufs == pytest.approx(expected, abs=0.15)


def test_analysing_twice_gives_the_same(analyzer, song):
    assert analyzer.analyze(song) == analyzer.analyze(song)


@pytest.mark.parametrize("seconds", [1e-4, 0.05, 0.39])
def test_very_short_sounds_are_analysed(analyzer, seconds):
    analysis = analyzer.analyze_audio(music(seconds=max(seconds, 1e-4), rate_hz=24000, channels=1), 24000)
    validate(analysis.to_dict())
    assert analysis.loudness_lufs is None


def test_limits_and_bad_samples(analyzer, song):
    with pytest.raises(AudioLimitError, match="over the limit of 2"):
        analyzer.analyze(song, AudioLimits(max_seconds=2))
    with pytest.raises(AudioNotFoundError):
        analyzer.analyze(song.with_name("none.wav"))
    with pytest.raises(ConfigError, match="NaN"):
        analyzer.analyze_audio(np.full(100, np.nan, dtype=np.float32), 24000)
    with pytest.raises(ConfigError, match="no audio"):
        analyzer.analyze_audio(np.empty((2, 0), dtype=np.float32), 24000)


def test_missing_and_unknown_models(models, tmp_path):
    with pytest.raises(ModelError, match="no model for onset here; train it with `dvc repro`"):
        Analyzer.load({**models, "onset": tmp_path / "none"})
    with pytest.raises(ConfigError, match="'mood' is not a task"):
        Analyzer.load({"mood": tmp_path})
    with pytest.raises(ModelError, match="is a model for genre, not for beat"):
        Analyzer.load({**models, "beat": models["genre"]})


def test_models_must_share_one_front_end(models, tmp_path):
    other = save_tiny_models(tmp_path, FeatureParams(mel_bands=32, low_hz=60.0))
    with pytest.raises(ModelError, match="beat and genre were trained on different spectrograms"):
        Analyzer.load({**models, "genre": other["genre"]})


def test_a_spectrogram_made_in_pieces_is_the_whole_one():
    params = FeatureParams(mel_bands=16)
    front_end = LogMel(params)
    samples = np.random.default_rng(0).normal(0, 0.1, 240 * 13001 + 17).astype(np.float32)
    import torch

    whole = front_end(torch.from_numpy(samples)).numpy()
    np.testing.assert_allclose(log_mel(samples, front_end), whole, atol=1e-5)


@pytest.mark.filterwarnings("ignore:Passing a schema to Validator.iter_errors:DeprecationWarning")
def test_jams_reads_back(tmp_path):
    path = tmp_path / "song.jams"
    write_jams(path, ANALYSIS)
    jam = jams.load(str(path), strict=True)
    assert jam.file_metadata.duration == 8.0
    beats = jam.annotations.search(namespace="beat")[0]
    assert [(event.time, event.value) for event in beats.data][:5] == [(0.0, 1), (0.5, 2), (1.0, 3), (1.5, 4), (2.0, 1)]
    assert beats.annotation_metadata.annotation_tools == "backbeat-beat 1.0"
    drums, genre = jam.annotations.search(namespace="tag_open")
    assert {(event.time, event.value, event.confidence) for event in drums.data} == {
        (0.0, "kick", 0.8),
        (0.5, "snare", 0.7),
        (0.5, "hihat_open", 0.3),
    }
    assert [(event.value, event.confidence) for event in genre.data] == [("rock", 0.7)]
    assert [event.value for event in jam.annotations.search(namespace="key_mode")[0].data] == ["Eb:minor"]
    assert [event.value for event in jam.annotations.search(namespace="tempo")[0].data] == [120.0]
    assert jam.sandbox.loudness_lufs == -9.25
    write_jams(path, NOTHING)
    assert len(jams.load(str(path), strict=True).annotations) == 4


def test_tables_read_back(tmp_path):
    write_events_csv(tmp_path / "events.csv", ANALYSIS)
    with (tmp_path / "events.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert tuple(rows[0]) == EVENT_COLUMNS
    assert len(rows) == 16 + 2 + 3
    assert [float(row["time_s"]) for row in rows] == sorted(float(row["time_s"]) for row in rows)
    assert rows[0] == {"time_s": "0.0000", "event": "beat", "label": "1", "value": ""}
    assert {"time_s": "0.5000", "event": "drum", "label": "hihat_open", "value": "0.3"} in rows

    write_summary(tmp_path / "summary.csv", [summary_row(ANALYSIS), {"path": "bad, file", "error": "is empty"}])
    with (tmp_path / "summary.csv").open(newline="") as stream:
        good, bad = csv.DictReader(stream)
    assert tuple(good) == SUMMARY_COLUMNS
    assert (good["key"], good["beats"], good["genre"], good["error"]) == ("Eb minor", "16", "rock", "")
    assert (bad["path"], bad["tempo_bpm"], bad["error"]) == ("bad, file", "", "is empty")


def test_picture_has_the_size_asked_for(analyzer, song, tmp_path):
    analysis, evidence = analyzer.analyze_with_evidence(song)
    for name, shown in (("some", analysis), ("none", replace(NOTHING, path="日本 $x$.wav", duration_s=6.0))):
        path = tmp_path / f"{name}.png"
        plot_analysis(path, shown, evidence, width_px=800, height_px=640)
        data = path.read_bytes()
        assert data[:8] == b"\x89PNG\r\n\x1a\n"
        assert (int.from_bytes(data[16:20]), int.from_bytes(data[20:24])) == (800, 640)
    again = tmp_path / "again.png"
    plot_analysis(again, analysis, evidence, width_px=800, height_px=640)
    assert again.read_bytes() == (tmp_path / "some.png").read_bytes()


def test_picture_refuses_formats_and_sizes(analyzer, song, tmp_path):
    _, evidence = analyzer.analyze_with_evidence(song)
    with pytest.raises(ConfigError, match=r"one of \.png, \.svg, \.pdf"):
        plot_analysis(tmp_path / "x.bmp", ANALYSIS, evidence)
    with pytest.raises(ConfigError, match="cannot be read"):
        plot_analysis(tmp_path / "x.png", ANALYSIS, evidence, width_px=100)
    assert list(tmp_path.iterdir()) == []


def test_words_of_the_picture():
    assert headline(ANALYSIS) == "120.0 BPM  ·  4/4  ·  Eb minor  ·  rock (70%)  ·  −9.2 LUFS  ·  0:08"
    assert headline(NOTHING) == "no beat found  ·  rock (70%)  ·  0:08"
    torn = GenreGuess("rock", {"rock": 0.4, "jazz": 0.35, "folk": 0.25}, unsure=True)
    assert headline(replace(NOTHING, genre=torn)) == "no beat found  ·  perhaps rock (40%)  ·  0:08"
    assert [clock(seconds) for seconds in (0, 59.6, 61, 3600)] == ["0:00", "1:00", "1:01", "1:00:00"]


def test_close_up_begins_at_a_busy_downbeat():
    assert close_up_s(ANALYSIS) == (0.0, 8.0)
    beats = tuple(BeatEvent(60 + 0.5 * number, number % 4 + 1) for number in range(100))
    start_s, end_s = close_up_s(replace(ANALYSIS, duration_s=200.0, beats=beats, drums=()))
    assert end_s - start_s == 16
    assert 59.5 < start_s < 94
    assert close_up_s(replace(NOTHING, duration_s=100.0)) == (0.0, 16.0)


def test_running_median_ignores_single_errors():
    values = np.full(9, 120.0)
    values[4] = 60.0
    assert running_median(values, 5).tolist() == [120.0] * 9


def test_importing_is_cheap():
    code = (
        "import sys, backbeat.analysis; print([m for m in ('torch', 'matplotlib', 'jams', 'av') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


REAL = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "real" / "music"


@pytest.mark.skipif(not REAL.is_dir(), reason="../shared/data/real/music is not there")
def test_real_recordings_make_valid_analyses(analyzer):
    keys = {}
    for path in sorted(REAL.glob("*.ogg")):
        analysis = analyzer.analyze(path)
        validate(analysis.to_dict())
        assert -60 < analysis.loudness_lufs < 0
        keys[path.stem.rpartition("_")[2]] = analysis.key
    assert len(keys) == 14
    assert (keys["Fairy"].tonic, keys["Fairy"].mode) == ("E", "minor")
    assert keys["pibble"].confidence < 0.2  # a dog
