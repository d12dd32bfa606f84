"""The starter catalogue: loops that loop, in all styles, the same for a seed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from backbeat.corpus.contract import read_corpus
from backbeat.corpus.rendered.effects import EffectsParams
from backbeat.corpus.rendered.kits import SYNTHESIS_RATE_HZ
from backbeat.corpus.rendered.loops import compose_loop, render_loop
from backbeat.corpus.rendered.pairs import PAIRED_STYLES
from backbeat.corpus.rendered.synthesise import Sources, default_soundfont
from backbeat.errors import ConfigError, CorpusError
from backbeat.recommend.starter import StarterBeat, render_starter


@pytest.mark.parametrize("style", PAIRED_STYLES)
def test_a_loop_is_whole_bars_of_drums_bass_and_chords(style: str) -> None:
    loop = compose_loop("one", style, np.random.SeedSequence([2, 3]))
    bars = 12 if style == "blues" else 8
    beats_per_bar = loop.time_signature.beats_per_bar
    assert len(loop.beats) == bars * beats_per_bar
    assert loop.tempo_bpm == round(loop.tempo_bpm)
    assert loop.duration_s == pytest.approx(len(loop.beats) * 60 / loop.tempo_bpm)
    names = {part.name for part in loop.parts}
    assert {"drums", "bass", "chords"} <= names
    assert "melody" not in names
    assert loop.key is not None
    assert all(0 <= note.start_s < loop.duration_s for part in loop.parts for note in part.notes)
    assert compose_loop("one", style, np.random.SeedSequence([2, 3])).parts == loop.parts


def test_a_loop_goes_on_where_it_ended() -> None:
    """The step from its last sample to its first is one like any other, and it never falls silent."""
    sources = Sources((default_soundfont(),), kit_variety=0.0)
    loop = compose_loop("one", "ballad", np.random.SeedSequence([2, 4]))
    sound = render_loop(loop, np.random.SeedSequence(5), sources, EffectsParams(strength=0.0), channels=1)[0]
    assert sound.size == round(loop.duration_s * SYNTHESIS_RATE_HZ)
    assert np.abs(sound).max() == pytest.approx(0.9, rel=1e-3)
    assert abs(sound.mean()) < 1e-5
    steps = np.abs(np.diff(sound))
    assert abs(sound[0] - sound[-1]) <= np.quantile(steps, 0.999)
    # Twice the loop, heard at the seam and within, sounds as loud just after the one as before it.
    twice = np.concatenate([sound, sound])
    hop = SYNTHESIS_RATE_HZ // 100
    level = np.sqrt(np.mean(twice[: twice.size // hop * hop].reshape(-1, hop) ** 2, axis=1))
    assert level.min() > 1e-4


@pytest.fixture(scope="module")
def beats(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, tuple[StarterBeat, ...]]:
    folder = tmp_path_factory.mktemp("starter") / "beats"
    return folder, tuple(render_starter(folder, count=2, seed=4, workers=1, progress=False))


def test_the_starter_is_files_with_what_they_are(beats: tuple[Path, tuple[StarterBeat, ...]]) -> None:
    folder, made = beats
    assert [beat.label for beat in made] == ["afro", "trap"]
    assert [beat.title for beat in made] == ["Afro 1", "Trap 1"]
    for beat, track in zip(made, read_corpus(folder).tracks, strict=True):
        info = soundfile.info(beat.path)
        assert (info.samplerate, info.channels) == (44100, 2)
        assert info.frames / 44100 == pytest.approx(8 * 4 * 60 / beat.tempo_bpm, abs=1e-4)
        assert (track.genre, track.tempo_bpm, track.key, track.licence) == (
            beat.label,
            beat.tempo_bpm,
            beat.key,
            "CC0-1.0",
        )


def test_the_starter_is_the_same_for_a_seed(beats: tuple[Path, tuple[StarterBeat, ...]], tmp_path: Path) -> None:
    _, made = beats
    (first,) = render_starter(tmp_path / "again", count=1, seed=4, workers=1, progress=False)
    assert first.path.read_bytes() == made[0].path.read_bytes()


def test_a_starter_of_nothing_or_over_something_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="a beat or more"):
        render_starter(tmp_path / "none", count=0)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "song.txt").write_text("mine")
    with pytest.raises(CorpusError, match="is no corpus"):
        render_starter(tmp_path / "mine", count=1, workers=1, progress=False)
    assert (tmp_path / "mine" / "song.txt").read_text() == "mine"
