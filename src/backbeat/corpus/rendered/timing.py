"""From beats to the seconds of the audio: swing, tempo, each player's lag and jitter, and where the audio begins."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from backbeat.corpus.rendered.meter import Event
from backbeat.corpus.rendered.plan import Plan
from backbeat.corpus.rendered.score import Note, Part
from backbeat.music import Beats


def start_of_audio(rng: np.random.Generator, plan: Plan) -> float:
    """Return the second of the tempo map at which the audio begins; less than its first note's when silence leads."""
    size = plan.meter.beats
    if plan.excerpt:
        return float(plan.tempo.seconds(size + rng.uniform(0, size)))
    silence_s = rng.uniform(0, 1.0) if rng.random() < 0.5 else rng.uniform(0, 0.06)
    return float(plan.tempo.seconds(size - plan.pick_up)) - silence_s


def swung(beats: NDArray[np.float64], swing: float, swing16: float) -> NDArray[np.float64]:
    """Move off-beats later; triplets, which lie on no grid of thirty-seconds, stay."""
    if swing == 0.5 and swing16 == 0.5:
        return beats
    on_grid = np.abs(beats * 8 - np.round(beats * 8)) < 1e-6
    unit = 1.0 if swing != 0.5 else 0.5
    ratio = swing if swing != 0.5 else swing16
    phase = beats / unit - np.floor(beats / unit + 1e-9)
    bent = np.where(phase < 0.5, phase * 2 * ratio, ratio + (phase - 0.5) * 2 * (1 - ratio))
    return np.where(on_grid, np.floor(beats / unit + 1e-9) * unit + bent * unit, beats)


def to_notes(
    rng: np.random.Generator,
    plan: Plan,
    part: Part,
    events: list[Event],
    lag_s: float,
    jitter_s: float,
    start_s: float,
    duration_s: float,
) -> tuple[tuple[Note, ...], float]:
    """Turn events to notes in the audio's seconds; also return the first beat that any of them is played on."""
    if not events:
        return (), math.inf
    human = part.name == "drums" and plan.performance is not None
    beats = np.array([event.beat for event in events])
    ends = beats + np.array([event.length for event in events])
    if not human:
        beats, ends = (swung(values, plan.swing, plan.swing16) for values in (beats, ends))
    times_s = plan.tempo.seconds(beats) - start_s + lag_s
    lengths_s = plan.tempo.seconds(ends) - start_s + lag_s - times_s
    times_s = times_s + np.clip(rng.normal(0, jitter_s, times_s.size), -3 * jitter_s, 3 * jitter_s)
    if part.is_drums and not human:
        # The backbeat a little behind, as drummers like it.
        late = np.array([event.pitches[0] in (37, 38, 39, 40) for event in events])
        times_s = times_s + late * abs(rng.normal(0, jitter_s * 0.6))
    notes: list[Note] = []
    first = math.inf
    for event, time_s, length_s, beat in zip(events, times_s.tolist(), lengths_s.tolist(), beats.tolist(), strict=True):
        begin_s, left_s = time_s, length_s
        if begin_s < 0:
            # What already sounds when the audio begins goes on, if it is a held tone.
            if part.is_drums or begin_s + left_s < 0.3:
                continue
            begin_s, left_s = 0.0, begin_s + left_s
            beat = max(beat, 0.0)
        if begin_s >= duration_s - 0.02:
            continue
        first = min(first, beat)
        velocity = min(127, max(1, round(event.velocity)))
        left_s = max(0.03, min(left_s, duration_s - begin_s))
        for number, pitch in enumerate(event.pitches):
            at_s = begin_s + number * event.strum_s
            if at_s < duration_s - 0.02 and 12 <= pitch <= 115:
                notes.append(Note(at_s, left_s, pitch, velocity))
    notes.sort(key=lambda note: (note.start_s, note.pitch))
    return tuple(without_repeats(notes, 0.02) if part.is_drums else notes), first


def without_repeats(notes: list[Note], gap_s: float) -> list[Note]:
    """Of strokes on one drum closer than `gap_s`, keep the louder."""
    kept: list[Note] = []
    last: dict[int, int] = {}
    for note in notes:
        index = last.get(note.pitch)
        if index is not None and note.start_s - kept[index].start_s < gap_s:
            if note.velocity > kept[index].velocity:
                kept[index] = Note(kept[index].start_s, note.duration_s, note.pitch, note.velocity)
            continue
        last[note.pitch] = len(kept)
        kept.append(note)
    return kept


def audible_beats(plan: Plan, start_s: float, duration_s: float, earliest: float, end_beat: float) -> Beats:
    """Return the beats within the audio, from the first that anything is played on to the last of the piece."""
    times_s = plan.tempo.times_s - start_s
    index = np.arange(times_s.size)
    inside = (times_s >= 0) & (times_s < duration_s) & (index <= end_beat + 1e-6)
    if math.isfinite(earliest):
        inside &= index >= math.ceil(earliest - 0.1)
    return Beats(times_s[inside], index[inside] % plan.meter.beats + 1)
