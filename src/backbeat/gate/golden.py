"""Golden tracks: few, easy, and exactly known, because code makes them. Whoever got them right must go on doing so.

Beats: metronomes of several tempi, and pieces. Onsets: drums one at a time, and pieces. Genres: pieces. All come from
fixed seeds and from sounds that the package has; nothing of them is trained on.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backbeat.corpus.rendered.compose import ComposeParams, compose
from backbeat.corpus.rendered.drumsynth import synthesised_kit
from backbeat.corpus.rendered.effects import EffectsParams
from backbeat.corpus.rendered.kits import SYNTHESIS_RATE_HZ, SampledKit
from backbeat.corpus.rendered.metronome import BELL, CLICK, metronome_kit
from backbeat.corpus.rendered.render import render_score
from backbeat.corpus.rendered.synthesise import Sources, default_soundfont
from backbeat.evaluation.scoring import Example, Truth
from backbeat.features import FeatureParams, LogMel, log_mel
from backbeat.gate.sides import Contender
from backbeat.music import GENERAL_MIDI_DRUMS, Beats, Onsets

TEMPI_BPM = (66.0, 90.0, 120.0, 150.0, 180.0)
DRUM_NOTES = (36, 38, 42)
STYLES = ("rock", "house", "jazz", "reggae", "metal", "waltz", "country", "drum_and_bass")
#: In the corpus of this name no track of a user's can lie.
CORPUS = "(golden)"
_SEED = 20_260_101
_METRONOME_S, _DRUMS_S, _PIECE_S = 20.0, 8.0, 16.0


@dataclass(frozen=True, eq=False)
class GoldenTrack:
    """A track that is right when `measure` is at least `least`."""

    example: Example
    measure: str
    least: float

    @property
    def name(self) -> str:
        """How it is called."""
        return f"{self.example.corpus}/{self.example.id}".removeprefix(f"{CORPUS}/")

    def right(self, contender: Contender) -> bool:
        """Whether a model gets it right."""
        return bool(contender.row(self.example, self.example.log_mel()).get(self.measure, 0.0) >= self.least)


@lru_cache(maxsize=3)
def made_by_code(task: str, params: FeatureParams) -> tuple[GoldenTrack, ...]:
    """Make the golden tracks of a task.

    Raises
    ------
    CorpusError
        If the package's soundfont is not there.
    """
    if task == "beat":
        metronomes = [_metronome(tempo_bpm, params) for tempo_bpm in TEMPI_BPM]
        return (*metronomes, *(_piece(task, style, params, "beat_f", 0.9) for style in STYLES))
    if task == "onset":
        drums = [_drum(note, params) for note in DRUM_NOTES]
        return (*drums, *(_piece(task, style, params, "onset_f", 0.8) for style in STYLES))
    if task == "genre":
        return tuple(_piece(task, style, params, "correct", 1.0) for style in STYLES)
    # A beat is right among others, and a track for a listener: no single piece shows it.
    return ()


def _golden(name: str, style: str, sound: NDArray[Any], params: FeatureParams, truth: Truth) -> Example:
    import soxr

    samples = soxr.resample(np.asarray(sound, dtype=np.float64), SYNTHESIS_RATE_HZ, params.sample_rate_hz)
    spectrogram = log_mel(samples.astype(np.float32), LogMel(params))
    return Example(CORPUS, name, style, lambda: spectrogram, truth)


def _struck(kit: SampledKit, strokes: list[tuple[float, int]], duration_s: float) -> NDArray[np.float64]:
    """Strike a kit at times in seconds, each stroke to the sample."""
    sound = np.zeros(round(duration_s * SYNTHESIS_RATE_HZ))
    for time_s, note in strokes:
        (hit, *_) = kit.alternatives(note, 100)
        start = max(0, round(time_s * SYNTHESIS_RATE_HZ) - hit.attack)
        samples = hit.samples[: sound.size - start]
        sound[start : start + samples.size] += 0.6 * samples
    return sound


def _metronome(tempo_bpm: float, params: FeatureParams) -> GoldenTrack:
    times_s = np.arange(0.5, _METRONOME_S - 0.5, 60 / tempo_bpm)
    positions = np.arange(times_s.size) % 4 + 1
    notes = [BELL if position == 1 else CLICK for position in positions]
    kit = metronome_kit(np.random.default_rng(_SEED))
    sound = _struck(kit, list(zip(times_s.tolist(), notes, strict=True)), _METRONOME_S)
    name = f"metronome at {tempo_bpm:g} a minute"
    return GoldenTrack(_golden(name, "", sound, params, Beats(times_s, positions)), "beat_f", 0.9)


def _drum(note: int, params: FeatureParams) -> GoldenTrack:
    times_s = np.arange(0.5, _DRUMS_S - 0.5, 0.75)
    sound = _struck(synthesised_kit(np.random.default_rng(2)), [(time_s, note) for time_s in times_s], _DRUMS_S)
    drum = GENERAL_MIDI_DRUMS[note]
    truth = Onsets(times_s, [drum] * times_s.size)
    return GoldenTrack(_golden(f"{drum} alone", "", sound, params, truth), f"{drum}_f", 0.9)


def _piece(task: str, style: str, params: FeatureParams, measure: str, least: float) -> GoldenTrack:
    sound, beats, onsets = _rendered(style)
    truth: Truth = beats if task == "beat" else onsets if task == "onset" else style
    return GoldenTrack(_golden(f"{style} from a seed", style, sound, params, truth), measure, least)


@lru_cache(maxsize=len(STYLES))
def _rendered(style: str) -> tuple[NDArray[Any], Beats, Onsets]:
    score = compose(f"golden-{style}", _SEED, ComposeParams(duration_s=_PIECE_S, style=style, excerpt_share=1.0))
    sources = Sources(soundfonts=(default_soundfont(),), kit_variety=0.0)
    made = render_score(score, np.random.SeedSequence(_SEED), sources, EffectsParams(strength=0.0))
    return made.audio[0], score.beats, made.onsets
