"""Loops: some bars of drums, bass and chords at a steady tempo, whose end runs into their beginning."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from backbeat.corpus.rendered.arrange import Ensemble, Section
from backbeat.corpus.rendered.compose import ComposeParams
from backbeat.corpus.rendered.effects import EffectsParams
from backbeat.corpus.rendered.kits import SYNTHESIS_RATE_HZ, Samples
from backbeat.corpus.rendered.plan import Plan, make_plan
from backbeat.corpus.rendered.players import play
from backbeat.corpus.rendered.render import render_score
from backbeat.corpus.rendered.score import Note, Part, Score
from backbeat.corpus.rendered.styles import STYLES
from backbeat.corpus.rendered.synthesise import Sources
from backbeat.corpus.rendered.tempo import make_tempo_map
from backbeat.corpus.rendered.timing import to_notes
from backbeat.errors import CorpusError
from backbeat.music import Beats

#: What rings when a loop begins again is heard in it: so much of its end is played before it, seconds.
LEAD_IN_S = 4.0
#: Peak of a loop.
_PEAK = 0.9
#: Players may be early: notes are taken from so long before the first bar, seconds.
_EARLY_S = 0.5
_ATTEMPTS = 40


def compose_loop(loop_id: str, style: str, seed: np.random.SeedSequence) -> Score:
    """Compose a loop in the style's commonest metre, at a tempo of whole beats a minute.

    It has 8 bars, or 12 in styles whose phrases are so long.

    Raises
    ------
    CorpusError
        If the style has no piece with drums, bass and chords.
    """
    rng = np.random.default_rng(seed)
    bars = 12 if 12 in STYLES[style].phrase_bars else 8
    meters = STYLES[style].meters
    # A plan is made for a piece, of which its style, its metre, its tempo and its ways of playing are taken.
    wanted = ComposeParams(30.0, style, performance_share=0.0, drumless_share=0.0, unusual_share=0.0)
    for _ in range(_ATTEMPTS):
        drawn = make_plan(rng, wanted, ())
        if str(drawn.meter.signature) != max(meters, key=lambda name: meters[name]):
            continue
        plan = _looped(drawn, bars, rng)
        beats = bars * plan.meter.beats
        length_s = beats * 60 / plan.bpm
        start_s = float(plan.tempo.seconds(plan.meter.beats)) - _EARLY_S
        key, playing = play(rng, plan, wanted)
        parts = []
        for part, events, lag_s, jitter_s in playing:
            notes, _ = to_notes(rng, plan, part, events, lag_s, jitter_s, start_s, length_s + 2 * _EARLY_S)
            if notes:
                wrapped = (_wrapped(note, length_s) for note in notes)
                parts.append(replace(part, notes=tuple(sorted(wrapped, key=lambda note: (note.start_s, note.pitch)))))
        if {part.name for part in parts} >= {"drums", "bass", "chords"}:
            times_s = np.arange(beats) * 60 / plan.bpm
            return Score(
                id=loop_id,
                style=style,
                duration_s=length_s,
                beats=Beats(times_s, np.arange(beats) % plan.meter.beats + 1),
                tempo_bpm=plan.bpm,
                time_signature=plan.meter.signature,
                key=key,
                parts=tuple(parts),
                source=f"loop-{loop_id}",
            )
    raise CorpusError(f"style {style!r} has no drums, bass and chords to make loops of")


def _looped(plan: Plan, bars: int, rng: np.random.Generator) -> Plan:
    """Return a plan of one section at a steady tempo in which all play but the melody."""
    bpm = float(round(plan.bpm))
    percussion, pad = plan.ensemble.percussion, plan.ensemble.pad
    section = Section(
        label="chorus",
        start_bar=1,
        bars=bars,
        drums="full",
        bass=True,
        chords=True,
        pad=pad,
        melody=False,
        percussion=percussion,
        intensity=0.75,
        fill_beats=float(rng.integers(0, 3)),
    )
    count = (bars + 3) * plan.meter.beats
    tempo = make_tempo_map(rng, "steady", bpm, count, beats_per_bar=plan.meter.beats, bar_pushes=np.zeros(bars + 3))
    ensemble = Ensemble(True, True, True, pad, False, percussion, plan.ensemble.leaning)
    return replace(plan, bpm=bpm, ensemble=ensemble, sections=(section,), tempo=tempo, pick_up=0)


def _wrapped(note: Note, length_s: float) -> Note:
    return replace(note, start_s=(note.start_s - _EARLY_S) % length_s)


def render_loop(
    loop: Score, seeds: np.random.SeedSequence, sources: Sources, effects: EffectsParams, *, channels: int = 2
) -> Samples:
    """Turn a loop to sound, shape (channels, samples) at `SYNTHESIS_RATE_HZ`, that goes on seamlessly when repeated."""
    lead_s = min(LEAD_IN_S, loop.duration_s)
    first, count = round(lead_s * SYNTHESIS_RATE_HZ), round(loop.duration_s * SYNTHESIS_RATE_HZ)
    longer = replace(
        loop,
        duration_s=math.ceil(lead_s + loop.duration_s + 0.1),
        parts=tuple(replace(part, notes=_with_lead_in(part, loop.duration_s, lead_s)) for part in loop.parts),
    )
    made = render_score(longer, seeds, sources, effects, channels=channels).audio[:, first : first + count]
    # A loop is over and over; what some samples lie off the middle would be there all the time.
    made = made - made.mean(axis=1, keepdims=True)
    return np.asarray(made * np.float32(_PEAK / max(float(np.abs(made).max()), 1e-6)), dtype=np.float32)


def _with_lead_in(part: Part, length_s: float, lead_s: float) -> tuple[Note, ...]:
    """Give the notes of the loop, those of its last seconds before it, and those of its first moments behind it."""
    notes = []
    for note in part.notes:
        for turn in (-1, 0, 1):
            start_s = note.start_s + turn * length_s + lead_s
            # A tone that began before the lead-in and still sounds begins with it.
            held_s = start_s + note.duration_s if start_s < 0 and not part.is_drums else 0.0
            if held_s > 0.1:
                notes.append(replace(note, start_s=0.0, duration_s=held_s))
            elif 0 <= start_s < lead_s + length_s + 0.1:
                notes.append(replace(note, start_s=start_s))
    return tuple(sorted(notes, key=lambda note: (note.start_s, note.pitch)))
