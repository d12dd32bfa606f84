"""Drum kits as one-shots: what a hit sounds like, where its attack lies, and how a part is struck on a kit.

Every kit, whatever it comes from (a soundfont, recorded samples, synthesis), gives hits of the same form, so that one
routine places them all: the attack of each hit, measured in its waveform, falls on the label to the sample.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from backbeat.corpus.rendered.score import Note
from backbeat.music import DRUMS, GENERAL_MIDI_DRUMS

#: Everything is synthesised at this rate: interpolation at 24 kHz would fold cymbals back into the band.
SYNTHESIS_RATE_HZ = 44100

#: A hit begins to be heard where its waveform first passes this share of the peak of its first moments.
ATTACK_SHARE = 0.2
ATTACK_WINDOW_S = 0.06

#: Which notes cut off which: a hi-hat that is struck or closed ends the one that rings.
HIHAT_NOTES: frozenset[int] = frozenset({22, 26, 42, 44, 46})

_CHOKE_FADE_S = 0.008

Samples = NDArray[np.float32]


def attack_index(samples: NDArray[np.floating], rate_hz: int = SYNTHESIS_RATE_HZ) -> int:
    """Return the sample at which a sound that begins in `samples` is heard to begin.

    The first sample at `ATTACK_SHARE` of the peak that the sound reaches within `ATTACK_WINDOW_S` of its first audible
    sample (1% of the peak of all). The window keeps a slow swell behind a sharp click from hiding the click.

    Parameters
    ----------
    samples
        Shape (samples,).
    rate_hz
        Its sample rate.
    """
    level = np.abs(samples)
    if level.size == 0 or level.max() <= 0:
        return 0
    first = int(np.argmax(level >= 0.01 * level.max()))
    window = level[first : first + max(1, round(ATTACK_WINDOW_S * rate_hz))]
    return first + int(np.argmax(window >= ATTACK_SHARE * window.max()))


@dataclass(frozen=True, eq=False)
class Hit:
    """One recorded or synthesised stroke: mono samples at `SYNTHESIS_RATE_HZ` and the index of its attack."""

    samples: Samples
    attack: int

    @classmethod
    def measured(cls, samples: NDArray[np.floating]) -> Hit:
        """Make a hit of `samples`, shape (samples,), with the attack measured."""
        mono = np.ascontiguousarray(samples, dtype=np.float32)
        return cls(mono, attack_index(mono))


@dataclass(frozen=True, eq=False)
class Layer:
    """Hits that stand in for one another (round robin), for velocities up to `top_velocity`."""

    top_velocity: int
    hits: tuple[Hit, ...]


class Kit(Protocol):
    """What a drummer sits at."""

    @property
    def name(self) -> str:
        """What to call it."""
        ...

    @property
    def velocity_gain(self) -> float:
        """How far velocity sets the level, 0 (the layers do it themselves) to 1."""
        ...

    def notes(self) -> frozenset[int]:
        """Return the General MIDI percussion notes that it has."""
        ...

    def alternatives(self, note: int, velocity: int) -> tuple[Hit, ...]:
        """Return the hits that may sound for `note` at `velocity` (1..127); empty where it lacks the note."""
        ...


@dataclass(frozen=True, eq=False)
class SampledKit:
    """A kit of layers in memory, from samples or synthesis; layers in order of their top velocity."""

    name: str
    drums: Mapping[int, tuple[Layer, ...]]
    velocity_gain: float = 1.0

    def notes(self) -> frozenset[int]:
        """Return the General MIDI percussion notes that it has."""
        return frozenset(self.drums)

    def alternatives(self, note: int, velocity: int) -> tuple[Hit, ...]:
        """Return the hits of the lowest layer that reaches `velocity`, or of the highest there is."""
        layers = self.drums.get(note, ())
        for layer in layers:
            if velocity <= layer.top_velocity:
                return layer.hits
        return layers[-1].hits if layers else ()


def substitute(kit: Kit, note: int) -> int | None:
    """Return the note of `kit` that may sound for `note` without making its label untrue; None if there is none.

    That is the note itself or, for one of the ten drums, the nearest note of the same class.
    """
    available = kit.notes()
    if note in available:
        return note
    name = GENERAL_MIDI_DRUMS.get(note)
    same = [other for other in available if name is not None and GENERAL_MIDI_DRUMS.get(other) == name]
    # Claps and side sticks (37, 39) count as snares but make poor ones where a real one was written, and the reverse.
    return min(same, key=lambda other: (other in (37, 39), abs(other - note)), default=None)


@dataclass(frozen=True)
class DrumSetup:
    """How a kit is tuned and set in a mix: for each drum class (and "note") its semitones, dB, decay and place.

    `decay_s` is the time constant of an extra exponential fade, infinite for none; `curve` the exponent of velocity;
    `softening` how far soft strokes lose their highs, 0..1; `tone` an equaliser, second-order sections of shape
    (sections, 6), for each drum that has one.
    """

    semitones: Mapping[str, float]
    gain_db: Mapping[str, float]
    decay_s: Mapping[str, float]
    pan: Mapping[str, float]
    curve: float = 1.5
    softening: float = 0.0
    tone: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)

    @classmethod
    def plain(cls) -> DrumSetup:
        """Return the setup that changes nothing but level by velocity."""
        return cls({}, {}, {}, {}, curve=1.0)

    @classmethod
    def random(cls, rng: np.random.Generator) -> DrumSetup:
        """Draw a setup: most drums nearly as they are, some tuned by up to three semitones or cut short."""
        names = (*DRUMS, "note")
        spread = float(rng.choice([0.15, 0.6, 1.5], p=[0.4, 0.4, 0.2]))
        short = float(rng.choice([np.inf, 0.5, 0.2, 0.09], p=[0.6, 0.18, 0.14, 0.08]))
        semitones = {name: float(np.clip(rng.normal(0, spread), -3, 3)) for name in names}
        gain_db = {name: float(np.clip(rng.normal(0, 2.0), -6, 5)) for name in names}
        decay_s = {name: short * float(rng.uniform(0.6, 1.6)) for name in names}
        mirror = 1.0 if rng.random() < 0.5 else -1.0
        place = {"hihat": -0.35, "ride": 0.4, "crash": 0.3, "tom_high": -0.3, "tom_mid": 0.05, "tom_low": 0.35}
        pan = {name: mirror * place.get(name, place.get(name.split("_", maxsplit=1)[0], 0.0)) for name in names}
        return cls(semitones, gain_db, decay_s, pan, float(rng.uniform(1.0, 2.0)), float(rng.uniform(0, 1)))


def _retuned(hit: Hit, semitones: float, decay_s: float) -> Hit:
    """Return the hit played faster or slower by `semitones`, fading with the time constant `decay_s`."""
    samples, attack = hit.samples, hit.attack
    if abs(semitones) >= 0.05:
        speed = 2.0 ** (semitones / 12)
        # Positions are counted from the attack, so that it stays on a sample of its own.
        before = int(attack / speed)
        count = before + int((samples.size - 1 - attack) / speed) + 1
        positions = attack + (np.arange(count) - before) * speed
        samples = np.interp(positions, np.arange(samples.size), samples).astype(np.float32)
        attack = before
    if np.isfinite(decay_s):
        fade = np.exp(-np.maximum(np.arange(samples.size) - attack, 0) / (decay_s * SYNTHESIS_RATE_HZ))
        length = attack + int(6.9 * decay_s * SYNTHESIS_RATE_HZ)
        samples = (samples * fade).astype(np.float32)[:length]
    return Hit(samples, attack)


def _toned(hit: Hit, sections: NDArray[np.float32] | None) -> Hit:
    """Return the hit through an equaliser; minimum phase, so its attack stays where it is."""
    if sections is None:
        return hit
    from scipy.signal import sosfilt

    return Hit(np.asarray(sosfilt(sections, hit.samples), dtype=np.float32), hit.attack)


def _softened(hit: Hit, amount: float) -> Hit:
    """Return the hit with its highs lowered: a one-pole low-pass whose output is mixed with the hit itself."""
    from scipy.signal import lfilter

    dull = lfilter([np.float32(0.25)], np.array([1, -0.75], dtype=np.float32), hit.samples)
    mixed = (hit.samples + amount * (dull - hit.samples)).astype(np.float32)
    return Hit(mixed, hit.attack)


def strike(
    kits: Sequence[Kit],
    notes: Sequence[Note],
    count: int,
    rng: np.random.Generator,
    *,
    setup: DrumSetup | None = None,
    channels: int = 1,
) -> Samples:
    """Play a drum part.

    Parameters
    ----------
    kits
        Where to look for each drum, in this order: the first kit that has the note, or one of its class.
    notes
        The part, ordered by start; strokes outside the audio are left out.
    count
        Samples to render, at `SYNTHESIS_RATE_HZ`.
    rng
        Chooses among hits that stand in for one another.
    setup
        Tuning, levels and places; plain when left out.
    channels
        1, or 2 to place drums by `setup.pan`.

    Returns
    -------
    Shape (channels, count). The attack of each stroke lies on sample `round(start_s * SYNTHESIS_RATE_HZ)`.
    """
    setup = setup or DrumSetup.plain()
    out = np.zeros((channels, count), dtype=np.float32)
    made: dict[tuple[int, int, bool], Hit] = {}
    sources: dict[int, tuple[Kit, int] | None] = {}
    ends = _choke_samples(notes)
    fade = np.linspace(1, 0, round(_CHOKE_FADE_S * SYNTHESIS_RATE_HZ), dtype=np.float32)
    for index, note in enumerate(notes):
        moment = round(note.start_s * SYNTHESIS_RATE_HZ)
        if not 0 <= moment < count:
            continue
        if note.pitch not in sources:
            found = ((kit, substitute(kit, note.pitch)) for kit in kits)
            sources[note.pitch] = next(((kit, pitch) for kit, pitch in found if pitch is not None), None)
        source = sources[note.pitch]
        if source is None:
            continue
        kit, pitch = source
        choices = kit.alternatives(pitch, note.velocity)
        chosen = choices[int(rng.integers(len(choices)))]
        name = GENERAL_MIDI_DRUMS.get(note.pitch, "note")
        soft = setup.softening > 0 and note.velocity < 70 and kit.velocity_gain > 0
        key = (id(chosen), note.pitch, soft)
        if key not in made:
            hit = _retuned(chosen, setup.semitones.get(name, 0.0), setup.decay_s.get(name, np.inf))
            hit = _toned(hit, setup.tone.get(name))
            made[key] = _softened(hit, setup.softening) if soft else hit
        hit = made[key]
        start = moment - hit.attack
        samples = hit.samples[max(0, -start) : max(0, count - start)]
        if index in ends:
            length = max(ends[index] - max(0, start), 1)
            if length < samples.size:
                samples = samples[: length + fade.size].copy()
                tail = samples[length:]
                tail *= fade[: tail.size]
        level = 1 - kit.velocity_gain * (1 - (note.velocity / 127) ** setup.curve)
        gain = level * 10 ** (setup.gain_db.get(name, 0.0) / 20)
        begin = max(0, start)
        if channels == 1:
            out[0, begin : begin + samples.size] += np.float32(gain) * samples
        else:
            angle = (setup.pan.get(name, 0.0) + 1) * np.pi / 4
            for channel, side in enumerate((np.cos(angle), np.sin(angle))):
                out[channel, begin : begin + samples.size] += np.float32(gain * side) * samples
    return out


def _choke_samples(notes: Sequence[Note]) -> dict[int, int]:
    """Map the index of each hi-hat stroke to the sample at which the next one cuts it off."""
    hats = [
        (index, round(note.start_s * SYNTHESIS_RATE_HZ))
        for index, note in enumerate(notes)
        if note.pitch in HIHAT_NOTES
    ]
    ends: dict[int, int] = {}
    for (index, moment), (_, following) in itertools.pairwise(hats):
        if following > moment:
            ends[index] = following
    return ends
