"""Training separation: corpora of stems, what training reads, the loss, scores, and a network that learns."""

import csv
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from numpy.typing import NDArray
from scipy.signal import butter, sosfilt

from backbeat.augment import Augmentation
from backbeat.corpus.contract import read_corpus
from backbeat.corpus.folder import import_folder
from backbeat.corpus.splits import Shares
from backbeat.corpus.stems import import_stems
from backbeat.dataset import read_labels, read_lines, write_labels
from backbeat.errors import AudioError, ConfigError, CorpusError, ModelError
from backbeat.evaluation.report import write_report
from backbeat.evaluation.results import corpus_facts, write_results
from backbeat.evaluation.scoring import EvaluationSettings
from backbeat.learning import Optimisation
from backbeat.model import load_spec
from backbeat.separation.score import score_stems
from backbeat.separation.separator import Separator
from backbeat.separation.stems import Instruments, StemStore, write_stems
from backbeat.separation.store import load_network, read_spec
from backbeat.separation.task import Remix, SegmentData, SeparationSettings, SeparationTask
from backbeat.tracking import Tracking
from backbeat.training import Places, TrainerSettings, train

RATE = 8000
NETWORK = {
    "sample_rate_hz": RATE,
    "frame_length": 512,
    "frame_step": 128,
    "bins": 256,
    "filters": [4, 8, 8, 8, 8, 8],
    "joint_softmax": True,
    "exponent": 1.0,
}
TRAINER = TrainerSettings(seed=3, accelerator="cpu", devices="1", precision="32-true", threads=1, progress=False)
PLAIN = SeparationSettings("separation", ("low", "high"), NETWORK, Optimisation(2, 4, 1.0, 3e-3, 0.01, 1.0, 0), Remix())


def tones(number: int, seconds: float = 2.0) -> dict[str, NDArray[np.float64]]:
    """Two stems that even a small network can tell apart: noise below 500 Hz, and noise above 1500 Hz."""
    rng = np.random.default_rng(number)
    noise = rng.standard_normal((2, round(seconds * RATE))) * 0.2
    low = butter(6, 500, "lowpass", fs=RATE, output="sos")
    high = butter(6, 1500, "highpass", fs=RATE, output="sos")
    return {"low": sosfilt(low, noise[0]), "high": 0.5 * sosfilt(high, noise[1])}


def write_songs(folder: Path, count: int = 8, seconds: float = 2.0) -> Path:
    for number in range(count):
        for name, samples in tones(number, seconds).items():
            path = folder / f"song {number}" / f"{name}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, samples, RATE, subtype="PCM_24")
    return folder


def write_store(root: Path, corpus: Path) -> None:
    """Write labels and stems of a corpus, as the pipeline's stages do."""
    made = read_corpus(corpus)
    write_labels(root / "labels", made)
    lines = read_lines(root / "labels/separation" / f"{made.name}.jsonl")
    write_stems(root / "stems" / made.name, corpus, lines, RATE, progress=False)


@pytest.fixture
def places(tmp_path: Path) -> Places:
    import_stems(write_songs(tmp_path / "songs"), tmp_path / "corpora/songs", progress=False)
    write_store(tmp_path, tmp_path / "corpora/songs")
    return Places(
        labels=tmp_path / "labels",
        features=tmp_path / "features",
        stems=tmp_path / "stems",
        listening=tmp_path / "listening",
        output=tmp_path / "model",
        checkpoints=tmp_path / "checkpoints",
        curves=tmp_path / "curves.csv",
        lock=tmp_path / "dvc.lock",
    )


def test_a_folder_a_song_becomes_a_corpus_whose_audio_is_the_sum(tmp_path: Path) -> None:
    source = write_songs(tmp_path / "songs", 4)
    soundfile.write(source / "song 0/mixture.wav", np.zeros(100), RATE)
    soundfile.write(source / "song 1/vocals.wav", 0.1 * np.ones((RATE, 2)), RATE)  # shorter, and in stereo
    corpus = import_stems(source, tmp_path / "corpus", licence="CC-BY-4.0", progress=False)
    assert [track.id for track in corpus.tracks] == ["song_0", "song_1", "song_2", "song_3"]
    assert {track.licence for track in corpus.tracks} == {"CC-BY-4.0"}
    assert set(corpus.stems(corpus.tracks[0])) == {"low", "high"}
    stems = {name: soundfile.read(path)[0] for name, path in corpus.stems(corpus.tracks[1]).items()}
    assert set(stems) == {"low", "high", "vocals"}
    audio, _ = soundfile.read(corpus.audio_path(corpus.tracks[1]))
    assert audio.shape == (2 * RATE, 2)
    np.testing.assert_allclose(audio, sum(stems.values()), atol=1e-6)
    assert np.all(stems["vocals"][RATE:] == 0)


def test_channels_are_stems_and_singers_are_not_divided(tmp_path: Path) -> None:
    for number in range(12):
        path = tmp_path / "songs" / f"{'abcdef'[number % 6]}_{number}.flac"
        path.parent.mkdir(exist_ok=True)
        soundfile.write(path, np.stack(list(tones(number).values()), axis=1), RATE)
    corpus = import_stems(
        tmp_path / "songs",
        tmp_path / "corpus",
        channels=["band", "voice"],
        group_pattern="[^_]+",
        shares=Shares(0.5, 0.17, 0.33),
        progress=False,
    )
    splits = {split: {track.source for track in corpus.tracks if track.split == split} for split in ("train", "test")}
    assert not splits["train"] & splits["test"]
    assert len(splits["test"]) == 2
    track = corpus.tracks[3]
    voice, _ = soundfile.read(corpus.stems(track)["voice"])
    np.testing.assert_allclose(voice, tones(int(track.id[2:]))["high"], atol=1e-4)
    with pytest.raises(CorpusError, match=r"has 2 channels; the stems named are a, b, c"):
        import_stems(tmp_path / "songs", tmp_path / "other", channels=["a", "b", "c"], progress=False)
    assert not (tmp_path / "other").exists()


def test_folders_named_for_splits_are_the_splits(tmp_path: Path) -> None:
    write_songs(tmp_path / "songs/train", 3)
    write_songs(tmp_path / "songs/validation", 1)
    write_songs(tmp_path / "songs/test", 1)
    corpus = import_stems(tmp_path / "songs", tmp_path / "corpus", progress=False)
    assert sorted((track.split, track.id) for track in corpus.tracks) == [
        ("test", "test-song_0"),
        ("train", "song_1"),
        ("train", "song_2"),
        ("train", "train-song_0"),
        ("valid", "validation-song_0"),
    ]


def test_where_folders_are_train_and_test_alone_valid_comes_out_of_train(tmp_path: Path) -> None:
    write_songs(tmp_path / "songs/train", 8, 0.1)
    write_songs(tmp_path / "songs/test", 2, 0.1)
    corpus = import_stems(tmp_path / "songs", tmp_path / "corpus", progress=False)
    assert Counter(track.split for track in corpus.tracks) == {"train": 7, "valid": 1, "test": 2}
    assert {track.id for track in corpus.tracks if track.split == "test"} == {"test-song_0", "test-song_1"}
    whole = import_stems(tmp_path / "songs", tmp_path / "all", shares=Shares(1.0, 0.0, 0.0), progress=False)
    assert Counter(track.split for track in whole.tracks) == {"train": 8, "test": 2}


def test_folders_without_stems_are_refused(tmp_path: Path) -> None:
    (tmp_path / "songs/one").mkdir(parents=True)
    soundfile.write(tmp_path / "songs/one/vocals.wav", np.ones(100), RATE)
    with pytest.raises(CorpusError, match=r"vocals\.wav: is the only stem in its folder"):
        import_stems(tmp_path / "songs", tmp_path / "corpus", progress=False)
    (tmp_path / "flat").mkdir()
    soundfile.write(tmp_path / "flat/song.wav", np.ones((100, 2)), RATE)
    with pytest.raises(CorpusError, match=r"holds no folders with a file a stem .* name them \(channels\)"):
        import_stems(tmp_path / "flat", tmp_path / "corpus", progress=False)
    soundfile.write(tmp_path / "songs/one/drums.wav", 0.1 * np.ones(100), 2 * RATE)
    with pytest.raises(CorpusError, match="different rates: 8000, 16000 Hz"):
        import_stems(tmp_path / "songs", tmp_path / "corpus", progress=False)
    (tmp_path / "songs/one/drums.wav").write_bytes(b"no audio")
    with pytest.raises(AudioError, match=r"drums\.wav"):
        import_stems(tmp_path / "songs", tmp_path / "corpus", progress=False)
    with pytest.raises(CorpusError, match="cannot be made in the folder"):
        import_stems(tmp_path, tmp_path, progress=False)
    with pytest.raises(ConfigError, match="not a pattern"):
        import_stems(tmp_path / "songs", tmp_path / "corpus", group_pattern="(", progress=False)
    with pytest.raises(ConfigError, match="is found at the beginning of no name"):
        import_stems(tmp_path / "songs", tmp_path / "corpus", group_pattern="singer", progress=False)
    soundfile.write(tmp_path / "songs/one/vocals.flac", np.ones(100), RATE)
    with pytest.raises(CorpusError, match=r"one: has two files for one stem: drums\.wav, vocals\.flac, vocals\.wav"):
        import_stems(tmp_path / "songs", tmp_path / "corpus", progress=False)


def test_an_import_deletes_nothing_but_a_corpus(tmp_path: Path) -> None:
    songs = write_songs(tmp_path / "par/songs", 3, 0.1)
    (tmp_path / "par/keep.txt").write_text("mine")
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious/thesis.txt").write_text("mine")
    for root in (tmp_path / "par", songs, songs / "corpus"):
        with pytest.raises(CorpusError, match="cannot be made in the folder"):
            import_stems(songs, root, progress=False)
    for import_one in (import_stems, import_folder):
        with pytest.raises(CorpusError, match="is there and is no corpus, so it is not replaced"):
            import_one(songs, tmp_path / "precious")
        with pytest.raises(CorpusError, match="is there and is no corpus"):
            import_one(songs, tmp_path / "par/keep.txt")
    with pytest.raises(CorpusError):
        import_folder(songs, tmp_path / "par")
    assert (tmp_path / "precious/thesis.txt").read_text() == (tmp_path / "par/keep.txt").read_text() == "mine"
    assert len(list(songs.iterdir())) == 3
    for _ in range(2):  # a corpus is replaced
        assert len(import_stems(songs, tmp_path / "corpus", progress=False).tracks) == 3
    for channels in (("../evil", "b"), ("", "b"), "ab", ("mix", "b")):
        with pytest.raises(ConfigError):
            import_stems(songs, tmp_path / "other", channels=channels, progress=False)


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["drums", "rest:*"], [[1.0], [6.0]]),
        (["band:bass+other", "vocals"], [[6.0], [0.0]]),
        (["rest:*", "bass"], [[5.0], [2.0]]),
    ],
)
def test_instruments_are_sums_of_stems(lines: list[str], expected: list[list[float]]) -> None:
    stems = {"drums": np.ones((1, 1), np.float32), "bass": np.full((1, 1), 2.0), "other": np.full((1, 1), 4.0)}
    assert Instruments.parse(lines).gather(stems)[:, 0].tolist() == expected


@pytest.mark.parametrize("lines", [["drums"], ["a:*", "b:*"], ["drums", "drums"], ["a:x", "b:x"], ["a b", "c"], []])
def test_instruments_that_make_no_sense_are_refused(lines: list[str]) -> None:
    with pytest.raises(ConfigError):
        Instruments.parse(lines)


def test_the_store_holds_what_the_corpus_has(places: Places) -> None:
    store = StemStore(places.stems)
    samples = store.get("songs", "song_3", 100, 300)
    np.testing.assert_allclose(samples["low"][0], tones(3)["low"][100:300], atol=1 / 32000)
    assert store.length("songs", "song_3") == 2 * RATE
    assert store.seconds("songs", "song_3") == 2.0
    with pytest.raises(CorpusError, match="no stems of track nobody"):
        store.get("songs", "nobody")
    with pytest.raises(CorpusError, match="has no stems; `dvc repro`"):
        store.get("other", "song_3")


def test_a_stem_that_changed_is_refused_and_leaves_nothing(places: Places, tmp_path: Path) -> None:
    stem = tmp_path / "corpora/songs/stems/song_3/low.flac"
    soundfile.write(stem, np.zeros(100), RATE)
    lines = read_lines(places.labels / "separation/songs.jsonl")
    with pytest.raises(CorpusError, match=r"song_3/low\.flac: is missing or not the stem that was validated"):
        write_stems(tmp_path / "again", tmp_path / "corpora/songs", lines, RATE, progress=False)
    assert not (tmp_path / "again").exists()


def test_perfect_masks_cost_nothing_and_none_costs_what_is_missing(places: Places) -> None:
    task = SeparationTask(PLAIN, 1)

    class Perfect(torch.nn.Module):
        def forward(self, magnitudes: torch.Tensor) -> torch.Tensor:
            low = torch.arange(256) < 64  # 1000 Hz, between the stems
            return torch.stack([low, ~low]).float()[:, None, None, None].expand(-1, *magnitudes.shape)

    data = SegmentData(task, StemStore(places.stems), read_labels(places.labels, "separation"), Remix(), 1)
    batch = next(iter(data.val_dataloader()))
    half = float(task.losses(batch)["loss"].detach())
    task.network = Perfect()  # type: ignore[assignment]
    assert float(task.losses(batch)["loss"]) < 0.05 < 0.2 < half


def test_training_windows_are_made_up_anew_each_epoch_and_the_same_each_time(places: Places) -> None:
    how = Remix(mix=1.0, gain_db=6, speed=1.1, tone_db=3, swap=0.5)
    tracks = read_labels(places.labels, "separation")

    def first(seed: int) -> NDArray[np.float32]:
        data = SegmentData(SeparationTask(PLAIN, 1), StemStore(places.stems), tracks, how, seed)
        batch = next(iter(data.train_dataloader()))
        assert batch["tone"].shape == (4, 2, 256)
        stems: NDArray[np.float32] = batch["stems"].numpy()
        return stems

    # One second at 8000 Hz is 62.5 frames of 128 samples: the 64 nearest, and the window's own length.
    assert first(1).shape == (4, 2, 2, 63 * 128 + 512)
    np.testing.assert_array_equal(first(1), first(1))
    assert not np.array_equal(first(1), first(2))


def test_scores_say_what_was_gained() -> None:
    rng = np.random.default_rng(0)
    references = np.repeat(rng.standard_normal((2, 1, 4 * RATE)), 2, axis=1)
    nothing = np.stack([references.sum(axis=0)] * 2)
    worse = score_stems(["a", "b"], references, nothing)
    assert worse["sdr_gain"] == pytest.approx(0, abs=1e-6)
    assert worse["a_sdr"] == pytest.approx(0, abs=0.5)
    better = score_stems(["a", "b"], references, references + 0.1 * references[::-1])
    assert better["a_sdr"] == pytest.approx(20, abs=0.5)
    assert better["a_sir"] == pytest.approx(20, abs=0.5)
    assert better["sdr_gain"] == pytest.approx(20, abs=1)
    assert better["a_sar"] > 40
    references[1] = 0
    assert score_stems(["a", "b"], references, nothing) == {}


def test_a_network_learns_to_tell_low_from_high(places: Places, tmp_path: Path) -> None:
    longer = replace(PLAIN.optimisation, epochs=60, learning_rate=2e-2)
    spec = train(replace(PLAIN, optimisation=longer), TRAINER, Tracking("", "t"), places, {})
    assert spec.metrics["sdr_gain"] > 6
    assert spec.task == "separation"
    assert read_spec(places.output) == spec
    separator = Separator.from_folder(places.output)
    tracks = [track for track in read_labels(places.labels, "separation") if track.split == "test"]
    table = separator.score(tracks, StemStore(places.stems))
    assert table["sdr_gain"].mean() > 6
    with places.curves.open() as stream:
        assert len(list(csv.DictReader(stream))) == 60
    assert load_network(places.output).params.segment_frames == 64
    facts = corpus_facts("separation", read_labels(places.labels, "separation"), StemStore(places.stems))
    assert facts["songs"]["hours"]["test"] == round(2 * len(tracks) / 3600, 4)
    folder = tmp_path / "reports/separation"
    settings = EvaluationSettings(confidence=0.95, resamples=100, seed=1, pictures=1)
    curves = pd.read_csv(places.curves)
    metrics = tmp_path / "reports/metrics.json"
    results = write_results(folder, metrics, separator, [], table, settings, facts, curves)
    assert {picture.kind for picture in results.pictures} == {"styles", "curves"}
    assert json.loads(metrics.read_text())["low_sdr"] == pytest.approx(table["low_sdr"].mean(), abs=1e-4)
    write_report(tmp_path / "index.html", [folder], "a test")
    page = (tmp_path / "index.html").read_text()
    assert "It tells apart: low, high." in page
    assert "low: SDR gained, dB" in page
    with pytest.raises(ModelError, match="separation"):
        load_spec(places.output, "beat")


def test_the_same_seed_gives_the_same_weights(places: Places) -> None:
    settings = replace(PLAIN, augmentation=Remix(mix=0.5, gain_db=3, speed=1.1, tone_db=2, swap=0.5))
    for name in ("one", "two"):
        train(settings, TRAINER, Tracking("", "t"), replace(places, output=places.output / name), {})
    assert read_spec(places.output / "one").sha256 == read_spec(places.output / "two").sha256


def test_settings_that_do_not_fit_are_refused(places: Places) -> None:
    with pytest.raises(ConfigError, match=r"no track has a stem 'vocals'; there are high, low"):
        train(replace(PLAIN, instruments=("vocals", "rest:*")), TRAINER, Tracking("", "t"), places, {})
    with pytest.raises(ConfigError, match="stems are at 8000 Hz and the network at 16000 Hz"):
        train(replace(PLAIN, network={**NETWORK, "sample_rate_hz": 16000}), TRAINER, Tracking("", "t"), places, {})
    with pytest.raises(ConfigError, match="do not fit it"):
        train(replace(PLAIN, network={**NETWORK, "depth": 3}), TRAINER, Tracking("", "t"), places, {})
    with pytest.raises(ConfigError, match="no track has a stem 'hihg'; there are high, low"):
        train(replace(PLAIN, instruments=("low", "band:high+hihg")), TRAINER, Tracking("", "t"), places, {})
    for bad in ({"epochs": 0}, {"batch_size": 0}, {"window_s": -1.0}, {"learning_rate": 0.0}, {"patience": -1}):
        with pytest.raises(ConfigError):
            replace(PLAIN.optimisation, **bad)
    for how in ({"mix": 3.0}, {"swap": -0.1}, {"gain_db": -1.0}, {"speed": 0.5}):
        with pytest.raises(ConfigError):
            Remix(**how)
    for how in ({"noise": 2.0}, {"gain_db": -1.0}):
        with pytest.raises(ConfigError):
            Augmentation(**how)
    with pytest.raises(ConfigError, match="threads"):
        replace(TRAINER, threads=0)
