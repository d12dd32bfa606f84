"""A metronome that is heard: clicks on the beats, beside a piece or alone.

Without it the only dry clicks that a model ever hears are the crackle of a record, which has no label.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from backbeat.corpus.rendered.drumsynth import filtered, scaled_hit, time_axis_s
from backbeat.corpus.rendered.kits import Hit, Layer, SampledKit
from backbeat.corpus.rendered.score import Note, Part, Score

#: General MIDI's notes of a metronome: its click and its bell.
CLICK, BELL = 33, 34

#: What such a part is called; it is played on `metronome_kit` and on nothing else.
METRONOME = "metronome"


def with_metronome(score: Score, rng: np.random.Generator, share: float) -> Score:
    """Return the score, with a chance of `share` with a metronome: alone, or beside the piece."""
    if rng.random() >= share or len(score.beats) == 0:
        return score
    accented = score.beats.positions is not None and rng.random() < 0.5
    positions = np.ones(len(score.beats)) if score.beats.positions is None else score.beats.positions
    notes = tuple(
        Note(float(time_s), 0.1, BELL if accented and position == 1 else CLICK, int(rng.integers(80, 127)))
        for time_s, position in zip(score.beats.times_s, positions, strict=True)
        if 0 <= time_s < score.duration_s
    )
    level_db = float(rng.uniform(-8, 4))
    part = Part(METRONOME, "other", 0, notes, is_drums=True, level_db=level_db)
    return replace(score, parts=(part,) if rng.random() < 0.5 else (*score.parts, part))


def metronome_kit(rng: np.random.Generator) -> SampledKit:
    """Draw a metronome: a short tone, a burst of noise or a knock of wood, and the same higher for the first beat."""
    kind, base_hz = int(rng.integers(3)), float(np.exp(rng.uniform(np.log(500), np.log(4500))))
    decay_s = float(np.exp(rng.uniform(np.log(0.001), np.log(0.03))))
    higher = float(rng.choice([1.0, 1.25, 1.5, 2.0]))

    def click(pitch_hz: float) -> Hit:
        time_s = time_axis_s(7 * decay_s + 0.002)
        if kind == 0:
            sound = np.sin(2 * np.pi * pitch_hz * time_s + 0.5)
        elif kind == 1:
            sound = filtered(rng.standard_normal(time_s.size), 0.4 * pitch_hz, 4 * pitch_hz)
        else:
            sound = np.sin(2 * np.pi * pitch_hz * time_s + 0.6) + 0.6 * np.sin(2 * np.pi * 2.7 * pitch_hz * time_s)
        return scaled_hit(sound * np.exp(-time_s / decay_s), 0.8)

    drums = {note: (Layer(127, (click(base_hz * ratio),)),) for note, ratio in ((CLICK, 1.0), (BELL, higher))}
    return SampledKit(METRONOME, drums)
