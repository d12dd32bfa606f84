"""Pieces of no style: all about them is drawn and rhythms are made up; what is left is what all music shares.

A network that hears seventeen styles learns their habits: that a snare in this sound is on two and four, that a waltz
has no drums. Records break all of them. In a piece of no style each player's habits are another style's, or none's: a
figure is drawn step by step, likelier where the bar is heavier, as in the metrical hierarchy of Lerdahl and
Jackendoff ("A generative theory of tonal music", 1983, chapter 4), which is what makes its beat a beat.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from backbeat.corpus.rendered.grooves import Groove
from backbeat.corpus.rendered.meter import Meter, pick
from backbeat.corpus.rendered.styles import STYLES, Style

#: What stands for a style where a piece has none, and for a way of playing whose figures are made up.
INVENTED = "invented"

_METERS = {"4/4": 0.4, "3/4": 0.24, "6/8": 0.13, "12/8": 0.06, "2/4": 0.08, "9/8": 0.03, "5/4": 0.03, "7/8": 0.03}
_METER_TEMPI = {
    "3/4": (64.0, 195.0),
    "6/8": (50.0, 140.0),
    "12/8": (50.0, 135.0),
    "9/8": (50.0, 125.0),
    "2/4": (58.0, 150.0),
    "5/4": (80.0, 190.0),
    "7/8": (150.0, 220.0),
}
# Programs of instruments that can carry a tune or chords, which are nearly all but sound effects.
_PITCHED = tuple(range(112))
_PERCUSSION = (54, 56, 60, 61, 63, 64, 69, 70, 73, 75, 76, 77, 82)


def invented_style(rng: np.random.Generator) -> Style:
    """Draw a style for one piece: each of its habits from another of `STYLES`, or made up."""

    def other() -> Style:
        return STYLES[pick(rng, tuple(STYLES))]

    def some(programs: tuple[int, ...]) -> tuple[int, ...]:
        return programs if rng.random() < 0.6 else (pick(rng, _PITCHED),)

    harmony, low, high, tune, feel = other(), other(), other(), other(), other()
    made_up = rng.random(2) < 0.6
    human = rng.random() < 0.75
    return Style(
        tempi=((56.0, 90.0, 0.3), (90.0, 140.0, 0.4), (140.0, 205.0, 0.3)),
        meters=_METERS,
        meter_tempi=_METER_TEMPI,
        progressions=harmony.progressions,
        scales=harmony.scales,
        bass={INVENTED: 1.0} if made_up[0] else low.bass,
        chords={INVENTED: 1.0} if made_up[1] else high.chords,
        melody=tune.melody,
        bass_programs=low.bass_programs,
        chord_programs=some(high.chord_programs),
        melody_programs=some(tune.melody_programs),
        pad_programs=feel.pad_programs or (48, 49, 89),
        pad_share=0.35,
        tempo_kinds={"steady": 0.15, "drift": 0.4, "push": 0.15, "ramp": 0.1, "rubato": 0.2},
        swing=(0.25, 0.54, 0.68),
        swing16=(0.15, 0.52, 0.62),
        drums_share=0.6,
        solo_share=0.03,
        kits=feel.kits,
        jitter_ms=(2.0, 14.0) if human else (0.0, 2.0),
        human=feel.human,
        phrase_bars=(4, 4, 6, 8, 8, 12),
    )


def weights_of(rng: np.random.Generator, meter: Meter) -> np.ndarray:
    """Return how likely each sixteenth of a bar is to be played, shape (meter.steps,).

    The bar's first is nearly certain, its pulses, beats, divisions and the rest less and less so, each by chance; now
    and then the off-beats carry more than the beats after the first.
    """
    beats = np.arange(meter.steps) * meter.step
    whole = np.abs(beats - np.round(beats)) < 1e-6
    division = 1 / 3 if meter.signature.is_compound else 0.5
    divided = np.abs(beats / division - np.round(beats / division)) < 1e-6
    dense = rng.random()
    weights = np.full(meter.steps, rng.uniform(0, 0.3) * (dense > 0.6))
    weights[divided] = np.clip(rng.uniform(-0.2, 1.0), 0, 1) * rng.uniform(0.5, 1.0)
    weights[whole] = rng.uniform(0.4, 1.0)
    pulses = np.isin(np.round(beats, 6), np.round(meter.pulses, 6))
    weights[pulses] = np.maximum(weights[pulses], rng.uniform(0.5, 1.0))
    weights[0] = rng.uniform(0.85, 1.0)
    if rng.random() < 0.2:  # syncopated: what belongs to some beats comes a division early
        early = max(1, round(division / meter.step))
        for step in np.flatnonzero(whole)[1:]:
            if rng.random() < 0.4:
                weights[[step - early, step]] = weights[[step, step - early]]
    return weights


def invent_figures(rng: np.random.Generator, meter: Meter, *, is_bass: bool) -> tuple[str, ...]:
    """Make up three related figures of one bar for a bass or for chords, in the characters of `playing`."""
    weights = weights_of(rng, meter)
    write = _bass_writer(rng) if is_bass else _chord_writer(rng, meter)
    first = _drawn(rng, weights, write)
    return first, _varied(rng, first, weights, write), _varied(rng, first, weights, write)


def invent_grooves(rng: np.random.Generator, meter: Meter) -> tuple[Groove, ...]:
    """Make up two related patterns for drums."""
    name = str(meter.signature)
    per_beat = round(1 / meter.step)
    beats = np.arange(meter.steps) // per_beat
    on_beat = np.arange(meter.steps) % per_beat == 0
    pulse_steps = {round(pulse / meter.step) for pulse in meter.pulses}

    def line(chosen: np.ndarray) -> str:
        return "".join("X" if hit and step in pulse_steps else "x" if hit else "." for step, hit in enumerate(chosen))

    answer = {
        "backbeat": on_beat & (beats % 2 == 1),
        "after": on_beat & (beats > 0),
        "half": on_beat & (beats == meter.beats // 2),
        "march": on_beat,
        "last": on_beat & (beats == meter.beats - 1),
        "none": np.zeros(meter.steps, bool),
    }
    snare_mask = answer[pick(rng, ("backbeat", "backbeat", "backbeat", "after", "half", "march", "last", "none"))]
    division = max(1, per_beat // (3 if meter.signature.is_compound else 2))
    steps = np.arange(meter.steps)
    time = {
        "divisions": steps % division == 0,
        "beats": on_beat,
        "all": np.ones(meter.steps, bool),
        "off": (steps % division == 0) & ~on_beat,
        "none": np.zeros(meter.steps, bool),
        "drawn": rng.random(meter.steps) < weights_of(rng, meter),
    }[pick(rng, ("divisions", "divisions", "divisions", "beats", "all", "off", "none", "drawn"))]
    snare_note = pick(rng, (38, 38, 38, 37, 39, 40))
    others: dict[int, str] = {}
    while rng.random() < 0.35 and len(others) < 3:
        others[pick(rng, _PERCUSSION)] = line(rng.random(meter.steps) < weights_of(rng, meter))
    kicks = weights_of(rng, meter) * np.where(snare_mask, 0.15, 0.9)
    grooves = []
    for _ in range(2):
        snare = line(snare_mask | ((rng.random(meter.steps) < 0.04) & ~on_beat))
        kick = line(rng.random(meter.steps) < kicks)
        if "x" not in (kick + snare).lower():
            kick = "X" + kick[1:]
        grooves.append(Groove(line(time), snare, kick, others, meter=name, snare_note=snare_note))
    return grooves[0], replace(grooves[1], others={} if rng.random() < 0.3 else others)


_Writer = Callable[[int, float], str]


def _drawn(rng: np.random.Generator, weights: np.ndarray, write: _Writer) -> str:
    chosen = rng.random(weights.size) < weights
    if not chosen.any():
        chosen[0] = True
    return "".join(write(step, float(weights[step])) if hit else "." for step, hit in enumerate(chosen))


def _varied(rng: np.random.Generator, figure: str, weights: np.ndarray, write: _Writer) -> str:
    """Draw some steps of a figure anew, its end rather than its beginning."""
    again = _drawn(rng, weights, write)
    anew = rng.random(len(figure)) < np.linspace(0.0, rng.uniform(0.2, 0.8), len(figure))
    return "".join(new if change else old for old, new, change in zip(figure, again, anew, strict=True))


def _bass_writer(rng: np.random.Generator) -> _Writer:
    tones = pick(rng, ("1", "15", "158", "1355", "11w5"))

    def write(step: int, weight: float) -> str:
        return "1" if step == 0 or rng.random() < 0.4 * weight else pick(rng, tones)

    return write


def _chord_writer(rng: np.random.Generator, meter: Meter) -> _Writer:
    manner = pick(rng, ("block", "block", "broken", "broken", "split"))
    per_beat = round(1 / meter.step)
    turn = pick(rng, (3, 4, 4, 5))

    def write(step: int, weight: float) -> str:
        if manner == "broken":
            return str(step % turn if rng.random() < 0.8 else int(rng.integers(0, turn)))
        if manner == "split" and step % per_beat == 0 and weight > 0.6:
            return "l"
        return "X" if step == 0 else "x"

    return write
