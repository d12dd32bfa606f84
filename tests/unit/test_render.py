"""Rendering: truth to the sample, the same bytes for a seed, and going on after an interruption."""

from __future__ import annotations

import pickle
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from backbeat.corpus.contract import Corpus, Track, read_corpus
from backbeat.corpus.rendered.effects import EffectsParams
from backbeat.corpus.rendered.jobs import fingerprint, make_corpus
from backbeat.corpus.rendered.kits import HIHAT_NOTES, SYNTHESIS_RATE_HZ, attack_index
from backbeat.corpus.rendered.render import (
    SHAKER,
    SIDE_STICK,
    SNARE_NOTES,
    TAMBOURINE,
    AudioFormat,
    RenderedParams,
    RenderJob,
    fingerprint_of,
    render_corpus,
    render_score,
    render_track,
    sources_of,
    split_of_tracks,
    with_strokes_moved,
    write_track,
)
from backbeat.corpus.rendered.score import Note, Part, Score
from backbeat.corpus.rendered.synthesise import (
    SWELL_S,
    SoundfontKit,
    Sources,
    default_soundfont,
    load_soundfont,
    synthesise,
)
from backbeat.errors import AnnotationError, ConfigError, CorpusError, UnsupportedAudioError
from backbeat.music import Beats, TimeSignature

CLEAN = EffectsParams(strength=0.0)
PIANO, PAD = 0, 89


def make_score(track_id: str, parts: tuple[Part, ...], duration_s: float = 2.0) -> Score:
    beats = Beats(np.arange(0.25, duration_s, 0.5), np.arange(len(np.arange(0.25, duration_s, 0.5))) % 4 + 1)
    signature = TimeSignature.parse("4/4")
    return Score(track_id, "rock", duration_s, beats, 120.0, signature, None, parts, f"seed-{track_id}")


def band(track_id: str = "rock-000000", duration_s: float = 2.0) -> Score:
    times_s = [float(time_s) for time_s in np.arange(0.25, duration_s - 0.1, 0.25)]
    drums = tuple(Note(time_s, 0.1, (36, 42, 38, 42)[index % 4], 100) for index, time_s in enumerate(times_s))
    bass = tuple(Note(time_s, 0.2, 40, 90) for time_s in times_s[::2])
    chords = tuple(Note(time_s, 0.9, pitch, 80) for time_s in times_s[::4] for pitch in (60, 64, 67))
    parts = (
        Part("drums", "drums", 0, drums, is_drums=True),
        Part("bass", "bass", 33, bass, level_db=-3),
        Part("chords", "other", PIANO, chords, level_db=-6, pan=0.5),
    )
    return make_score(track_id, parts, duration_s)


def seeds(number: int = 0) -> np.random.SeedSequence:
    return np.random.SeedSequence([0, number])


def click_kit(folder: Path) -> Path:
    """A kit of single samples, each behind a silence of another length."""
    for before, name in ((0, "kick"), (11, "snare"), (500, "hihat_closed")):
        samples = np.zeros(before + 1, np.float32)
        samples[before] = 0.5
        (folder / name).mkdir(parents=True)
        soundfile.write(folder / name / "one.wav", samples, SYNTHESIS_RATE_HZ, subtype="FLOAT")
    return folder


# --- truth -----------------------------------------------------------------------------------------------------------


def test_a_soundfont_note_begins_on_its_own_sample() -> None:
    font = load_soundfont(default_soundfont())
    reference = font.play([Note(0.0, 0.5, 38, 100)], 30000, program=0, bank=128)
    assert reference[0] != 0
    for start in (1, 63, 64, 65, 12345):
        played = font.play([Note(start / SYNTHESIS_RATE_HZ, 0.5, 38, 100)], 30000, program=0, bank=128)
        assert not played[:start].any()
        assert np.array_equal(played[start:], reference[: 30000 - start])


def test_a_soundfont_remembers_nothing_between_calls() -> None:
    font = load_soundfont(default_soundfont())
    chord = [Note(0.01, 0.5, pitch, 100) for pitch in (48, 60, 64)]
    first = font.play(chord, 20000, program=PAD, tuning_semitones=0.3)
    font.play(chord, 5000, program=48, tuning_semitones=-2)
    assert np.array_equal(font.play(chord, 20000, program=PAD, tuning_semitones=0.3), first)


def test_tuning_moves_the_pitch() -> None:
    font = load_soundfont(default_soundfont())
    spectra = [
        np.abs(np.fft.rfft(font.play([Note(0.0, 2, 69, 100)], 88200, program=73, tuning_semitones=semitones)[22050:]))
        for semitones in (0.0, 1.0)
    ]
    peaks_hz = [float(np.argmax(one[400:1100]) + 400) * SYNTHESIS_RATE_HZ / 66150 for one in spectra]
    assert peaks_hz[0] == pytest.approx(440, abs=6)
    assert peaks_hz[1] / peaks_hz[0] == pytest.approx(2 ** (1 / 12), rel=0.01)


def test_the_attack_of_a_soundfont_drum_lies_on_its_label() -> None:
    from backbeat.corpus.rendered.kits import strike

    kit = SoundfontKit(load_soundfont(default_soundfont()), 0)
    for pitch in (36, 38, 42, 44, 46, 49, 51):
        hit = kit.alternatives(pitch, 127)[0]
        out = strike([kit], [Note(0.5, 0.2, pitch, 127)], SYNTHESIS_RATE_HZ, np.random.default_rng(0))
        assert attack_index(hit.samples) == hit.attack
        assert np.array_equal(out[0, 22050 - hit.attack : 22050 + 100], hit.samples[: hit.attack + 100])


def test_a_pitched_note_is_started_early_enough_to_be_heard_on_its_label() -> None:
    font = load_soundfont(default_soundfont())
    delay = font.attack_samples(PIANO, 60)
    assert 0 < delay < 0.03 * SYNTHESIS_RATE_HZ
    part = Part("chords", "other", PIANO, (Note(0.5, 0.5, 60, 100),))
    stems = synthesise(make_score("a", (part,)), np.random.default_rng(0), Sources((default_soundfont(),)))
    begun = int(np.flatnonzero(stems.samples["other"][0])[0])
    assert begun == pytest.approx(22050 - delay, abs=3)
    assert stems.onsets.times_s.tolist() == [0.5]


def test_swelling_sounds_have_no_onset_label() -> None:
    assert load_soundfont(default_soundfont()).attack_samples(49, 60) > SWELL_S * SYNTHESIS_RATE_HZ
    notes = (Note(0.5, 1.0, 60, 100),)
    parts = (Part("pad", "other", 49, notes), Part("drums", "drums", 0, (Note(0.75, 0.1, 36, 127),), is_drums=True))
    stems = synthesise(make_score("a", parts), np.random.default_rng(0), Sources((default_soundfont(),)))
    assert list(zip(stems.onsets.times_s, stems.onsets.classes, strict=True)) == [(0.75, "kick")]


def test_a_written_click_lies_where_its_annotation_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from backbeat.corpus.rendered import synthesise as module
    from backbeat.corpus.rendered.kits import DrumSetup
    from backbeat.corpus.rendered.samples import load_kit

    kit = load_kit(click_kit(tmp_path / "kit"))
    monkeypatch.setattr(module, "_choose_kits", lambda *_: [[kit]])
    monkeypatch.setattr(DrumSetup, "random", classmethod(lambda cls, _rng: cls.plain()))
    times_s = np.sort(np.random.default_rng(5).uniform(0, 3, 40))
    notes = tuple(Note(float(time_s), 0.1, (36, 38, 42)[i % 3], 127) for i, time_s in enumerate(times_s))
    score = make_score("clicks", (Part("drums", "drums", 0, notes, is_drums=True),), 3.0)
    made = render_score(score, seeds(), sources_of((), ()), CLEAN)
    track = write_track(tmp_path / "corpus", score, made, AudioFormat(), "train")
    corpus = Corpus(tmp_path / "corpus", (track,))
    samples, rate_hz = soundfile.read(corpus.audio_path(track))
    onsets = corpus.onsets(track)
    assert onsets is not None
    assert rate_hz == SYNTHESIS_RATE_HZ
    assert samples.shape == (3 * SYNTHESIS_RATE_HZ,)
    assert np.flatnonzero(samples).tolist() == np.round(onsets.times_s * rate_hz).astype(int).tolist()


def test_parts_are_brought_to_their_level() -> None:
    notes = tuple(Note(time_s, 0.4, 60, 100) for time_s in (0.1, 0.6, 1.1, 1.6))
    levels = []
    for level_db in (0.0, -12.0):
        part = Part("lead", "other", PIANO, notes, level_db=level_db)
        stems = synthesise(make_score("a", (part,)), np.random.default_rng(0), Sources((default_soundfont(),)))
        levels.append(float(np.std(stems.samples["other"])))
    assert 20 * np.log10(levels[0] / levels[1]) == pytest.approx(12, abs=0.01)


def test_an_instrument_that_no_soundfont_has_is_refused(tmp_path: Path) -> None:
    part = Part("lead", "other", 128, (Note(0.1, 0.1, 60, 100),))
    with pytest.raises(CorpusError, match="no soundfont has General MIDI program 128"):
        synthesise(make_score("a", (part,)), np.random.default_rng(0), Sources((default_soundfont(),)))
    with pytest.raises(CorpusError, match="no such soundfont"):
        sources_of((str(tmp_path / "none.sf2"),), ())
    (tmp_path / "bad.sf2").write_bytes(b"no soundfont")
    with pytest.raises(CorpusError, match="cannot be read as a soundfont"):
        load_soundfont(tmp_path / "bad.sf2")


# --- a track ---------------------------------------------------------------------------------------------------------


def test_a_rendering_depends_on_its_seed_alone() -> None:
    sources = sources_of((), ())
    first = render_score(band(), seeds(1), sources, EffectsParams())
    render_score(band(), seeds(2), sources, EffectsParams())
    again = render_score(band(), seeds(1), sources, EffectsParams())
    other = render_score(band(), seeds(2), sources, EffectsParams())
    assert np.array_equal(first.audio, again.audio)
    assert not np.array_equal(first.audio, other.audio)


def test_side_sticks_take_the_place_of_snares_and_keep_their_class() -> None:
    notes = tuple(Note(start_s, 0.1, pitch, 100) for start_s, pitch in ((0.1, 36), (0.5, 38), (1.5, 40)))
    score = make_score("rock-000000", (Part("drums", "drums", 0, notes, is_drums=True),))
    assert with_strokes_moved(score, np.random.default_rng(0), 0.0, SNARE_NOTES, (SIDE_STICK,)) is score
    changed = [
        with_strokes_moved(score, np.random.default_rng(seed), 1.0, SNARE_NOTES, (SIDE_STICK,)) for seed in range(20)
    ]
    pitches = {tuple(note.pitch for note in one.parts[0].notes) for one in changed}
    assert pitches == {(36, 37, 37), (36, 37, 40)}
    for one in changed:
        assert one.onsets().classes == score.onsets().classes


def test_a_tambourine_in_the_place_of_the_hihat_is_no_hihat() -> None:
    notes = tuple(Note(start_s, 0.1, pitch, 100) for start_s, pitch in ((0.1, 42), (0.5, 38), (0.6, 46)))
    score = make_score("rock-000000", (Part("drums", "drums", 0, notes, is_drums=True),))
    changed = [
        with_strokes_moved(score, np.random.default_rng(seed), 1.0, HIHAT_NOTES, (TAMBOURINE, SHAKER))
        for seed in range(30)
    ]
    assert {one.parts[0].notes[0].pitch for one in changed} == {TAMBOURINE, SHAKER}
    assert {one.parts[0].notes[1].pitch for one in changed} == {38}
    assert all(one.onsets().of("hihat").times_s.size < 2 for one in changed)
    assert all(one.onsets().times_s.size == 3 for one in changed)


@pytest.mark.parametrize("channels", [1, 2])
def test_renderings_are_finite_and_bounded(channels: int) -> None:
    for number in range(8):
        made = render_score(band(), seeds(number), sources_of((), ()), EffectsParams(), channels=channels)
        assert made.audio.shape == (channels, 2 * SYNTHESIS_RATE_HZ)
        assert made.audio.dtype == np.float32
        assert np.all(np.isfinite(made.audio))
        assert 0.01 < np.abs(made.audio).max() <= 1


def test_stems_on_disk_sum_to_the_mixture(tmp_path: Path) -> None:
    audio = AudioFormat(channels=2, keep_stems=True)
    made = render_score(band(), seeds(3), sources_of((), ()), EffectsParams(), channels=2, keep_stems=True)
    track = write_track(tmp_path, band(), made, audio, "valid")
    folder = tmp_path / "stems" / track.id
    total = sum(soundfile.read(folder / f"{stem}.flac")[0] for stem in ("drums", "bass", "other"))
    mixture, _ = soundfile.read(folder / "mixture.flac")
    assert mixture.shape == (2 * SYNTHESIS_RATE_HZ, 2)
    assert np.abs(total - mixture).max() <= 2.01 / 32767  # half a step for each of four files


def test_another_rate_keeps_times(tmp_path: Path) -> None:
    notes = (Note(0.5, 0.1, 37, 127),)
    score = make_score("a", (Part("drums", "drums", 0, notes, is_drums=True),))
    made = render_score(score, seeds(), sources_of((), ()), CLEAN)
    starts_s = []
    for rate_hz in (SYNTHESIS_RATE_HZ, 24000):
        track = write_track(tmp_path / str(rate_hz), score, made, AudioFormat(sample_rate_hz=rate_hz), "train")
        samples, read_hz = soundfile.read(tmp_path / str(rate_hz) / track.path)
        assert read_hz == rate_hz
        assert samples.size == 2 * rate_hz
        starts_s.append(int(np.argmax(np.abs(samples) > 0.5 * np.abs(samples).max())) / rate_hz)
    assert starts_s[0] == pytest.approx(starts_s[1], abs=1e-3)


# --- a corpus --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class BandJob:
    id: str
    number: int
    poison: str = ""


def make_band(job: BandJob, folder: Path) -> Track:
    if job.poison and Path(job.poison).exists():
        raise CorpusError("the power went")
    score = band(job.id, 1.0)
    made = render_score(score, seeds(job.number), sources_of((), ()), EffectsParams())
    return write_track(folder, score, made, AudioFormat(), "train")


def hashes(corpus: Corpus) -> dict[str, str]:
    return {
        path.relative_to(corpus.root).as_posix(): fingerprint({}, [path], [])
        for path in sorted(corpus.root.rglob("*"))
        if path.is_file()
    }


def test_any_order_gives_the_same_bytes(tmp_path: Path) -> None:
    jobs = [BandJob(f"rock-{number:06d}", number) for number in range(4)]
    one = make_corpus(tmp_path / "one", jobs, make_band, "m", workers=1, progress=False)
    two = make_corpus(tmp_path / "two", jobs[::-1], make_band, "m", workers=1, progress=False)
    assert hashes(one) == hashes(two)
    assert [track.id for track in one.tracks] == [job.id for job in jobs]
    assert all(len(track.sha256) == 64 for track in one.tracks)
    assert len({track.sha256 for track in one.tracks}) == 4
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "two"]
    assert read_corpus(tmp_path / "two").tracks == one.tracks


def test_an_interrupted_run_goes_on_and_shows_nothing_before_it_is_whole(tmp_path: Path) -> None:
    poison = tmp_path / "poison"
    poison.touch()
    jobs = [BandJob("rock-000000", 0), BandJob("rock-000001", 1), BandJob("rock-000002", 2, str(poison))]
    root = tmp_path / "corpus"
    with pytest.raises(CorpusError, match="the power went"):
        make_corpus(root, jobs, make_band, "m", workers=1, progress=False)
    assert not root.exists()
    kept = tmp_path / ".corpus.partial-m" / "audio" / "rock-000001.flac"
    before = kept.stat().st_mtime_ns
    poison.unlink()
    (tmp_path / ".corpus.partial-stale" / "audio").mkdir(parents=True)
    (tmp_path / ".corpus.partial-stale" / "audio" / "rock-000000.flac").write_bytes(b"of another configuration")
    resumed = make_corpus(root, jobs, make_band, "m", workers=1, progress=False)
    assert (root / "audio" / "rock-000001.flac").stat().st_mtime_ns == before
    assert [path.name for path in tmp_path.iterdir()] == ["corpus"]
    whole = make_corpus(tmp_path / "whole", jobs, make_band, "m", workers=1, progress=False)
    assert hashes(resumed) == hashes(whole)


def test_a_corpus_is_replaced_and_anything_else_is_not(tmp_path: Path) -> None:
    make_corpus(tmp_path / "a", [BandJob("rock-000000", 0)], make_band, "m", workers=1, progress=False)
    again = make_corpus(tmp_path / "a", [BandJob("rock-000009", 1)], make_band, "n", workers=1, progress=False)
    assert [path.name for path in (again.root / "audio").glob("*.flac")] == ["rock-000009.flac"]
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letters.txt").write_text("dear")
    with pytest.raises(CorpusError, match="is no corpus, so it is not replaced"):
        make_corpus(tmp_path / "mine", [BandJob("rock-000000", 0)], make_band, "m", workers=1, progress=False)


def test_progress_without_a_terminal_is_a_line_for_each_tenth(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    jobs = [BandJob(f"rock-{number:06d}", 0) for number in range(2)]
    make_corpus(tmp_path / "a", jobs, make_band, "m", workers=1, progress=True)
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["rendered 1 of 2 tracks", "rendered 2 of 2 tracks"]


@pytest.mark.parametrize(
    "error", [UnsupportedAudioError("a.wav", "is no audio"), AnnotationError("beats decrease", "a.beats", 3)]
)
def test_errors_come_whole_out_of_worker_processes(error: Exception) -> None:
    rebuilt = pickle.loads(pickle.dumps(error))  # noqa: S301
    assert type(rebuilt) is type(error)
    assert str(rebuilt) == str(error)
    assert vars(rebuilt) == vars(error)


def test_the_fingerprint_changes_with_parameters_and_sources(tmp_path: Path) -> None:
    params = RenderedParams()
    assert fingerprint_of(params) == fingerprint_of(RenderedParams())
    assert fingerprint_of(params) != fingerprint_of(replace(params, seed=1))
    kit = click_kit(tmp_path / "kit")
    with_kit = replace(params, kits=(str(kit),))
    before = fingerprint_of(with_kit)
    assert before != fingerprint_of(params)
    (kit / "kick" / "two.wav").write_bytes(b"more")
    assert fingerprint_of(with_kit) != before


@pytest.mark.parametrize(("tracks", "styles"), [(400, 13), (100, 21), (20, 12), (3, 12)])
def test_splits_have_their_shares_and_every_style(tracks: int, styles: int) -> None:
    params = RenderedParams(tracks=tracks)
    splits = np.array(split_of_tracks(params, styles))
    assert np.sum(splits == "test") == max(1, round(0.1 * tracks))
    assert np.sum(splits == "valid") == max(1, round(0.1 * tracks))
    if tracks >= 10 * styles:
        for style in range(styles):
            assert {"train", "valid", "test"} == set(splits[style::styles])


@pytest.mark.parametrize(
    ("bad", "message"),
    [({"tracks": 0}, "at least one track"), ({"seed": -1}, "seed from 0"), ({"duration_s": 0.1}, "2 to 3600 s")],
)
def test_impossible_corpora_are_refused(bad: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        RenderedParams(**bad)  # type: ignore[arg-type]


@pytest.mark.parametrize("bad", [{"channels": 3}, {"sample_rate_hz": 100}, {"format": "mp3"}])
def test_impossible_audio_is_refused(bad: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        AudioFormat(**bad)  # type: ignore[arg-type]


def test_a_composed_corpus_is_whole_and_the_same_for_any_number_of_workers(tmp_path: Path) -> None:
    params = RenderedParams(seed=5, tracks=4, duration_s=3.0, styles=("rock", "waltz"), sources_licence="CC-BY-4.0")
    one = render_corpus(tmp_path / "one", params, workers=1, progress=False)
    two = render_corpus(tmp_path / "two", params, workers=2, progress=False)
    assert hashes(one) == hashes(two)
    assert [track.id for track in one.tracks] == ["rock-000000", "rock-000002", "waltz-000001", "waltz-000003"]
    assert sorted(track.split for track in one.tracks) == ["test", "train", "train", "valid"]
    for track in one.tracks:
        assert track.licence == "CC0-1.0 AND CC-BY-4.0"
        beats, onsets = one.beats(track), one.onsets(track)
        assert beats is not None
        assert onsets is not None
        assert beats.positions is not None
        assert len(onsets) > 0
        assert max(beats.times_s[-1], onsets.times_s[-1]) < 3.0
        assert soundfile.info(one.audio_path(track)).frames == 3 * SYNTHESIS_RATE_HZ
    first = render_track(RenderJob(params, 0, "rock-000000", "rock", "train"), tmp_path / "alone")
    assert first.sha256 == one.tracks[0].sha256


def test_unknown_styles_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="unknown style 'polka'"):
        render_corpus(tmp_path / "a", RenderedParams(styles=("polka",)), progress=False)
