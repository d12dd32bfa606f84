"""Descriptors of files: what a recording is told to be, with its vectors, and a model of moods that labels teach."""

import json
from dataclasses import replace
from pathlib import Path

import jsonschema
import numpy as np
import pytest
import torch
from hostile import music
from tiny_models import save_tiny_models

from backbeat import cli
from backbeat.analysis import Analysis, Analyzer, Descriptors
from backbeat.analysis.cues import descriptors_of
from backbeat.analysis.describing import Describer
from backbeat.analysis.descriptors import Mood, descriptors_schema
from backbeat.analysis.hearing import hear_samples
from backbeat.analysis.mood_labels import read_mood_labels
from backbeat.analysis.mood_model import FEWEST_TRACKS, MoodExample, MoodModel, fit_mood
from backbeat.analysis.result import analysis_schema
from backbeat.audio import AudioLimits, encode
from backbeat.corpus.rendered.compose import ComposeParams, compose
from backbeat.corpus.rendered.effects import EffectsParams
from backbeat.corpus.rendered.render import render_score
from backbeat.corpus.rendered.synthesise import Sources, default_soundfont
from backbeat.errors import AnnotationError, AudioLimitError, ConfigError, CorpusError, ModelError, SilentAudioError
from backbeat.features import FeatureParams
from backbeat.files import sha256_file
from backbeat.model import ModelSpec, weights_of
from backbeat.pairing.model import PairingModel
from backbeat.pairing.network import PairingNetwork

RATE_HZ = 44100


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return save_tiny_models(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def analyzer(models: dict[str, Path]) -> Analyzer:
    return Analyzer.load(models)


@pytest.fixture(scope="module")
def song(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("audio") / "song.wav"
    encode(path, music(seconds=6.0, rate_hz=RATE_HZ), RATE_HZ)
    return path


@pytest.fixture(scope="module")
def told(analyzer: Analyzer, song: Path) -> Descriptors:
    return Describer(analyzer, fingerprints=False).describe(song).descriptors


def pairing_of(features: FeatureParams) -> PairingModel:
    torch.manual_seed(2)
    network = PairingNetwork(features.mel_bands, features.frame_rate_hz)
    return PairingModel(network, ModelSpec("pairing", "tiny", "0", {}, features, ()))


def test_a_file_is_described_in_one_go(analyzer, song, models):
    pairing = pairing_of(FeatureParams(mel_bands=32))
    described = Describer(analyzer, pairing).describe(song)
    assert described.sha256 == sha256_file(song)
    assert described.fingerprint
    genre_space = f"genre:{sha256_file(models['genre'] / 'model.safetensors')[:12]}"
    assert set(described.vectors) == {genre_space, pairing.space}
    analysis, evidence = analyzer.analyze_with_evidence(song)
    np.testing.assert_array_equal(described.vectors[genre_space], evidence.embedding)
    heard = analyzer.analyze(song)
    assert replace(described.analysis, descriptors=None) == heard == analysis
    assert described.analysis.descriptors == described.descriptors
    told = described.descriptors
    assert (told.tempo_bpm, told.key, told.loudness_lufs) == (heard.tempo_bpm, heard.key, heard.loudness_lufs)
    assert told.camelot == "11B"  # A major
    assert told.mood.source == "cues"
    assert told.quality.lossy == "none"
    assert described.take_vector.shape == described.vectors[pairing.space].shape
    again = Describer(analyzer, pairing).describe(song)
    assert again.descriptors == told
    assert again.fingerprint == described.fingerprint


def test_without_a_model_for_pairing_there_is_no_such_vector(analyzer, song):
    described = Describer(analyzer, fingerprints=False).describe(song)
    assert (described.take_vector, described.fingerprint, len(described.vectors)) == (None, b"", 1)


def test_models_that_do_not_fit_are_refused(analyzer, models, tmp_path):
    with pytest.raises(ModelError, match="beat and pairing were trained on different spectrograms"):
        Describer(analyzer, pairing_of(FeatureParams(mel_bands=40)))
    with pytest.raises(ModelError, match="no model here"):
        Describer.load({**models, "pairing": tmp_path / "none"})
    with pytest.raises(ModelError, match="is a model for genre, not for mood"):
        Describer.load({**models, "mood": models["genre"]})
    with pytest.raises(ConfigError, match="'taste' is not a task"):
        Describer.load({"taste": tmp_path})


def test_files_that_cannot_be_described(analyzer, song, tmp_path):
    describer = Describer(analyzer, fingerprints=False)
    with pytest.raises(AudioLimitError):
        describer.describe(song, AudioLimits(max_seconds=2))
    silent = tmp_path / "silent.wav"
    encode(silent, np.zeros((1, RATE_HZ)), RATE_HZ)
    with pytest.raises(SilentAudioError):
        describer.describe(silent)


def test_descriptors_go_through_json(told, analyzer, song):
    jsonschema.Draft202012Validator.check_schema(descriptors_schema())
    written = json.loads(json.dumps(told.to_dict(), allow_nan=False))
    jsonschema.validate(written, descriptors_schema())
    assert Descriptors.from_dict(written) == told
    with pytest.raises(AnnotationError, match="malformed descriptors"):
        Descriptors.from_dict({**written, "mood": None})
    analysis = Describer(analyzer, fingerprints=False).describe(song).analysis
    whole = json.loads(json.dumps(analysis.to_dict(), allow_nan=False))
    jsonschema.validate(whole, analysis_schema())
    assert Analysis.from_dict(whole) == analysis
    # An analysis of before there were any is one still.
    old = {name: value for name, value in whole.items() if name != "descriptors"}
    jsonschema.validate(old, analysis_schema())
    assert Analysis.from_dict(old).descriptors is None


@pytest.mark.parametrize("seconds", [0.001, 0.3, 2.0])
@pytest.mark.parametrize("rate_hz", [3000, 44100])
def test_very_short_and_low_sounds_are_described(analyzer, tmp_path, seconds, rate_hz):
    path = tmp_path / "short.wav"
    encode(path, music(seconds=seconds, rate_hz=rate_hz), rate_hz)
    told = Describer(analyzer, fingerprints=False).describe(path).descriptors
    jsonschema.validate(told.to_dict(), descriptors_schema())
    assert told.loudness_range_lu is None


def test_samples_are_described_as_files_are(analyzer, told):
    samples = np.clip(music(seconds=6.0, rate_hz=RATE_HZ), -1, 1)  # as in the file
    heard = hear_samples(samples, RATE_HZ, analyzer.front_end, describe=True)
    here = descriptors_of(heard, *analyzer.judge(heard))
    assert here.energy == pytest.approx(told.energy, abs=0.01)
    assert here.true_peak_dbtp == pytest.approx(told.true_peak_dbtp, abs=0.02)
    assert here.spectrum.mfcc_mean == pytest.approx(told.spectrum.mfcc_mean, abs=0.5)
    without = hear_samples(samples, RATE_HZ, analyzer.front_end)
    judged = analyzer.judge(without)
    with pytest.raises(ConfigError, match="hear it with describe=True"):
        descriptors_of(without, *judged)


def test_fields_have_descriptors_where_they_were_heard(analyzer):
    samples = music(seconds=4.0, rate_hz=RATE_HZ)
    heard = hear_samples(samples, RATE_HZ, analyzer.front_end, describe=True)
    fields = analyzer.judge_fields(heard, ["descriptors"]).fields
    assert set(fields) == {"schema_version", "models", "warnings", "descriptors"}
    jsonschema.validate(fields["descriptors"], descriptors_schema())
    without = hear_samples(samples, RATE_HZ, analyzer.front_end)
    fields = analyzer.judge_fields(without, ["key", "descriptors"]).fields
    assert fields["descriptors"] is None
    assert fields["models"] == {}


def test_what_monitoring_keeps_of_what_is_described(analyzer):
    heard = hear_samples(music(seconds=4.0, rate_hz=RATE_HZ), RATE_HZ, analyzer.front_end, describe=True)
    described, judgement = Describer(analyzer, fingerprints=False).judged(heard, "ab")
    assert described.sha256 == "ab"
    assert judgement.fields == described.analysis.to_dict()
    assert judgement.beat_confidence == analyzer.judge_fields(heard, ["beats"]).beat_confidence


def rendered(style: str, seed: int) -> np.ndarray:
    score = compose(f"{style}-{seed}", seed, ComposeParams(duration_s=15.0, style=style))
    sources = Sources(soundfonts=(default_soundfont(),))
    return render_score(score, np.random.SeedSequence(5), sources, EffectsParams(strength=0.0)).audio


def test_loud_styles_have_more_energy_than_quiet_ones():
    analyzer = Analyzer.load()

    def described(style: str, seed: int) -> Descriptors:
        heard = hear_samples(rendered(style, seed), RATE_HZ, analyzer.front_end, describe=True)
        return descriptors_of(heard, *analyzer.judge(heard))

    quiet = [described(*one) for one in (("ballad", 5000), ("waltz", 5000), ("classical", 5001))]
    loud = [described(*one) for one in (("metal", 5000), ("drum_and_bass", 5000), ("metal", 5001))]
    assert max(told.energy for told in quiet) + 0.1 < min(told.energy for told in loud)
    assert max(told.mood.arousal for told in quiet) < min(told.mood.arousal for told in loud)
    assert all(told.quality.lossy == "none" for told in quiet + loud)
    jazz = described("jazz", 5000)
    assert jazz.swing == pytest.approx(0.66, abs=0.05)
    assert loud[0].swing == pytest.approx(0.5, abs=0.02)


def examples_of(told: Descriptors, count: int, seed: int = 0) -> list[MoodExample]:
    """Return tracks whose valence and arousal follow from what is heard of them, with a little noise."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        energy, clarity = rng.uniform(0, 1, 2)
        embedding = rng.normal(0, 1, 8).astype(np.float32)
        swing = None if rng.random() < 0.5 else 0.5
        described = replace(told, energy=float(energy), pulse_clarity=float(clarity), swing=swing)
        valence = np.clip(0.4 * embedding[0] / 2 + clarity - 0.5 + rng.normal(0, 0.05), -1, 1)
        arousal = np.clip(1.6 * energy - 0.8 + rng.normal(0, 0.05), -1, 1)
        found.append(MoodExample(described, embedding, float(valence), float(arousal)))
    return found


def test_a_model_of_moods_learns_from_labels(told, analyzer, song, tmp_path):
    features = FeatureParams(mel_bands=32)
    model, card = fit_mood(examples_of(told, 120), features, analyzer.space, data_hash="labels=sha256:00")
    assert model.spec.metrics["valence_r2"] > 0.8
    assert model.spec.metrics["arousal_r2"] > 0.9
    assert "on 120 labelled" in card
    fresh = examples_of(told, 60, seed=1)
    moods = [model.mood(one.descriptors, one.embedding) for one in fresh]
    off = [(mood.valence - one.valence, mood.arousal - one.arousal) for mood, one in zip(moods, fresh, strict=True)]
    assert np.sqrt(np.mean(np.square(off), axis=0)).max() < 0.12
    assert {mood.source for mood in moods} == {"model"}
    model.save(tmp_path / "mood", card)
    again = Describer(analyzer, mood=MoodModel.from_folder(tmp_path / "mood"))
    assert MoodModel.from_folder(tmp_path / "mood").mood(fresh[0].descriptors, fresh[0].embedding) == moods[0]
    assert again.describe(song).descriptors.mood.source == "model"


def test_the_same_labels_teach_the_same(told, analyzer):
    features = FeatureParams(mel_bands=32)
    one, other = (fit_mood(examples_of(told, 40), features, analyzer.space)[0] for _ in range(2))
    assert weights_of(one.network) == weights_of(other.network)


def test_labels_that_mean_nothing_teach_nothing(told, analyzer):
    rng = np.random.default_rng(9)
    shuffled = [replace(one, valence=rng.uniform(-1, 1), arousal=rng.uniform(-1, 1)) for one in examples_of(told, 120)]
    model, _ = fit_mood(shuffled, FeatureParams(mel_bands=32), analyzer.space)
    assert max(model.spec.metrics.values()) < 0.2


def test_moods_that_cannot_be_learnt_or_told(told, analyzer):
    features = FeatureParams(mel_bands=32)
    with pytest.raises(CorpusError, match=f"{FEWEST_TRACKS} are the least"):
        fit_mood(examples_of(told, 5), features, analyzer.space)
    with pytest.raises(ConfigError, match="is not within -1 to 1"):
        MoodExample(told, np.zeros(8, np.float32), 2.0, 0.0)
    model, _ = fit_mood(examples_of(told, 40), features, "genre:elsewhere")
    with pytest.raises(ModelError, match="trained on embeddings of genre:elsewhere"):
        Describer(analyzer, mood=model)
    with pytest.raises(ModelError, match="features, not"):
        model.mood(told, np.zeros(3, np.float32))
    assert isinstance(model.mood(replace(told, tempo_bpm=None, key=None), np.full(8, 50, np.float32)), Mood)


def write_labels(folder: Path, rows: list[str]) -> Path:
    path = folder / "labels.csv"
    path.write_text("\n".join(["path,valence,arousal", *rows]) + "\n")
    return path


def test_moods_are_fitted_on_the_command_line(tmp_path, monkeypatch, capsys):
    rows = []
    for number in range(FEWEST_TRACKS):
        level = 0.05 + 0.9 * number / FEWEST_TRACKS
        encode(tmp_path / f"{number}.wav", level * music(seconds=0.5, rate_hz=24000), 24000)
        rows.append(f"{number}.wav,0.5,{2 * number / FEWEST_TRACKS - 1}")
    labels = write_labels(tmp_path, [*rows, "none.wav,0,0"])

    def run(*arguments: object) -> object:
        monkeypatch.setattr("sys.argv", ["backbeat", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        return stop.value.code or 0

    assert run("models", "fit-mood", labels, "--out", tmp_path / "mood") == 0
    said = capsys.readouterr()
    assert f"learnt from {FEWEST_TRACKS} recordings" in said.out
    assert "none.wav" in said.err
    song = tmp_path / f"{FEWEST_TRACKS - 1}.wav"
    assert run("analyze", song, "--json", "--descriptors", "--mood", tmp_path / "mood") == 0
    analysis = json.loads(capsys.readouterr().out)
    jsonschema.validate(analysis, analysis_schema())
    assert analysis["descriptors"]["mood"]["source"] == "model"
    assert analysis["descriptors"]["mood"]["arousal"] > 0.4
    assert run("analyze", song, "--descriptors") == 0
    said = capsys.readouterr().out
    for words in ("camelot", "energy", "by cues", "true peak", "quality"):
        assert words in said
    assert run("analyze", song, "--json") == 0
    assert json.loads(capsys.readouterr().out)["descriptors"] is None
    assert run("analyze", song, "--mood", tmp_path / "mood") == 1
    assert run("models", "fit-mood", labels, "--out", tmp_path) == 1
    assert "is no model of moods, so it is not replaced" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["a.wav,2,0"], r"labels.csv:2: valence '2' is not a number from -1 to 1"),
        (["a.wav,0,0", "b.wav,0,x"], r"labels.csv:3: arousal 'x'"),
        (["a.wav,0"], r"arousal None is not"),
        ([",0,0"], r"names no recording"),
    ],
)
def test_labels_that_cannot_be_true(tmp_path, rows, message):
    with pytest.raises(AnnotationError, match=message):
        read_mood_labels(write_labels(tmp_path, rows))


def test_tables_that_are_none(tmp_path):
    with pytest.raises(AnnotationError, match="cannot be read"):
        read_mood_labels(tmp_path / "none.csv")
    (tmp_path / "labels.csv").write_text("path,valence\n")
    with pytest.raises(AnnotationError, match="has no column 'arousal'"):
        read_mood_labels(tmp_path / "labels.csv")
