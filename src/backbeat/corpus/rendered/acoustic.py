"""Drums from nothing, of wood, skin and bronze: random acoustic kits by modal synthesis.

Heads ring in the modes of a circular membrane (Fletcher and Rossing, "The Physics of Musical Instruments", 1998,
section 3.3); snare wires and cymbals are noise in bands that die away each at its own rate, cymbals with partials of
their own (section 20). Harder strokes sound different, not only louder. Every sound begins with its stick or beater.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from backbeat.corpus.rendered.drumsynth import filtered, scaled_hit, time_axis_s
from backbeat.corpus.rendered.kits import SYNTHESIS_RATE_HZ, Hit, Layer, SampledKit

_Signal = NDArray[np.float64]

#: Frequencies of a circular membrane's first modes, by the lowest.
_MEMBRANE = np.array([1.0, 1.594, 2.136, 2.296, 2.653, 2.918, 3.156, 3.501, 3.6, 4.06])

#: Layers by the highest velocity that they play, and how hard each is struck, 0 to 1.
_FORCES: tuple[tuple[int, float], ...] = ((50, 0.3), (90, 0.6), (127, 1.0))


def _between(rng: np.random.Generator, low: float, high: float) -> float:
    """Draw evenly on a logarithmic scale."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def _head(rng: np.random.Generator, base_hz: float, decay_s: float, bend: float, length_s: float) -> _Signal:
    """Ring a membrane, shape (2, samples): its three lowest modes and the others, each set of peak 1.

    A mode dies the faster the higher it is, and all fall in pitch by `bend` at first.
    """
    time_s = time_axis_s(length_s)
    ratios = _MEMBRANE * rng.uniform(0.97, 1.03, _MEMBRANE.size)
    weights = rng.uniform(0.3, 1.0, ratios.size) / ratios
    phase = 2 * np.pi * base_hz * np.cumsum(1 + bend * np.exp(-time_s / 0.02)) / SYNTHESIS_RATE_HZ
    rates = ratios ** rng.uniform(0.5, 1.2) / decay_s
    modes = weights[:, None] * np.sin(ratios[:, None] * phase + 0.4) * np.exp(-rates[:, None] * time_s)
    parts = np.stack([modes[:3].sum(axis=0), modes[3:].sum(axis=0)])
    return np.asarray(parts / np.abs(parts).max(axis=1, keepdims=True))


def _click(rng: np.random.Generator, count: int, length_s: float, low_hz: float, high_hz: float) -> _Signal:
    """Draw what a stick or beater adds, of peak 1."""
    time_s = np.arange(count) / SYNTHESIS_RATE_HZ
    sound = filtered(rng.standard_normal(count) * np.exp(-time_s / length_s), low_hz, high_hz)
    return sound / max(float(np.abs(sound).max()), 1e-9)


def _bands(rng: np.random.Generator, time_s: _Signal, edges_hz: _Signal, decays_s: _Signal) -> _Signal:
    """Draw bands of noise, shape (bands, samples), each of peak 1 and of its own decay."""
    noise = rng.standard_normal(time_s.size)
    bands = np.stack([filtered(noise, low, high) for low, high in itertools.pairwise(edges_hz.tolist())])
    bands /= np.abs(bands).max(axis=1, keepdims=True)
    return np.asarray(bands * np.exp(-time_s / decays_s[:, None]))


#: A stroke by its force, 0 to 1.
Drum = Callable[[float], Hit]


def kick(rng: np.random.Generator) -> Drum:
    """Draw a bass drum."""
    decay_s = _between(rng, 0.04, 0.3)
    body = _head(rng, rng.uniform(42, 82), decay_s, rng.uniform(0, 0.8), min(6 * decay_s + 0.1, 1.5))
    high = rng.uniform(0.05, 0.5)
    tap = _between(rng, 0.05, 0.9) * _click(
        rng, body.shape[1], _between(rng, 0.0008, 0.005), 300, _between(rng, 1500, 9000)
    )
    return lambda force: scaled_hit(body[0] + high * force * body[1] + force * tap, 0.95)


def tom(rng: np.random.Generator, base_hz: float) -> Drum:
    """Draw a tom whose lowest mode is `base_hz`."""
    decay_s = _between(rng, 0.08, 0.6)
    body = _head(rng, base_hz, decay_s, rng.uniform(0.02, 0.3), min(5 * decay_s + 0.1, 1.8))
    high = rng.uniform(0.1, 0.7)
    tap = _between(rng, 0.03, 0.4) * _click(rng, body.shape[1], 0.003, 800, 9000)
    return lambda force: scaled_hit(body[0] + high * force * body[1] + force * tap, 0.8)


def snare(rng: np.random.Generator) -> Drum:
    """Draw a snare drum: batter head, wires that answer it, sometimes a ringing shell."""
    decay_s, wires_s = _between(rng, 0.025, 0.22), _between(rng, 0.04, 0.3)
    length_s = min(6 * max(decay_s, wires_s) + 0.05, 1.5)
    head = _head(rng, _between(rng, 140, 340), decay_s, rng.uniform(0, 0.25), length_s)
    time_s = np.arange(head.shape[1]) / SYNTHESIS_RATE_HZ
    edges_hz = np.array([_between(rng, 500, 2200), _between(rng, 2800, 5500), _between(rng, 7000, 18000)])
    wires = _bands(rng, time_s, edges_hz, wires_s * np.array([1.0, 0.8]))
    wires *= _between(rng, 0.2, 2.5) * (1 - np.exp(-(time_s + 0.0003) / rng.uniform(0.0005, 0.004)))
    ring = np.sin(2 * np.pi * _between(rng, 700, 2400) * time_s + 0.6) * np.exp(-time_s / _between(rng, 0.02, 0.2))
    ring *= rng.choice([0.0, rng.uniform(0.05, 0.4)])
    tap = _between(rng, 0.1, 0.9) * _click(rng, time_s.size, 0.002, 1500, 14000)
    low, high = rng.uniform(0.3, 1.0), rng.uniform(0.2, 0.9)

    def stroke(force: float) -> Hit:
        # Wires answer even soft strokes, of which the head is hardly heard.
        struck = force**0.5 * (head[0] + high * force * head[1])
        return scaled_hit(struck + low * wires[0] + (1 - 0.5 * low) * force**0.3 * wires[1] + force * tap + ring, 0.85)

    return stroke


def brushed_snare(rng: np.random.Generator) -> Drum:
    """Draw a snare struck with brushes: many wires that land one after another, little head."""
    decay_s = _between(rng, 0.03, 0.2)
    time_s = time_axis_s(min(6 * decay_s + 0.05, 1.0))
    edges_hz = np.array([_between(rng, 400, 1500), _between(rng, 2500, 5000), _between(rng, 7000, 16000)])
    swish = _bands(rng, time_s, edges_hz, decay_s * np.array([1.0, 0.7]))
    swish *= 1 - np.exp(-(time_s + 0.0003) / _between(rng, 0.001, 0.012))
    head = _head(rng, _between(rng, 150, 300), decay_s, 0.0, (time_s.size + 1) / SYNTHESIS_RATE_HZ)[:, : time_s.size]
    low, body = rng.uniform(0.2, 1.0), _between(rng, 0.02, 0.5)
    return lambda force: scaled_hit(low * swish[0] + force**0.3 * swish[1] + body * force * head[0], 0.6)


def tambourine(rng: np.random.Generator) -> Drum:
    """Draw a tambourine: jingles that ring together, struck within hundredths of a second of each other."""
    decay_s = _between(rng, 0.03, 0.2)
    time_s = time_axis_s(6 * decay_s + 0.05)
    modes_hz, out = _between(rng, 3500, 8000) * rng.uniform(1.0, 2.2, 12), np.zeros(time_s.size)
    for place in np.sort(np.append(rng.exponential(_between(rng, 0.002, 0.015), 8), 0.0)):
        since_s = np.maximum(time_s - place, 0)
        ring = np.sin(2 * np.pi * rng.choice(modes_hz, (3, 1)) * since_s).sum(axis=0)
        out += rng.uniform(0.4, 1.0) * (time_s >= place) * ring * np.exp(-since_s / (decay_s * rng.uniform(0.5, 1.3)))
    noise = filtered(rng.standard_normal(time_s.size), 5000, 18000) * np.exp(-time_s / (0.5 * decay_s))
    out += _between(rng, 0.2, 2.0) * noise
    tap = _between(rng, 0.1, 1.0) * np.abs(out).max() * _click(rng, time_s.size, 0.002, 3000, 16000)
    return lambda force: scaled_hit(out + force * tap, 0.4)


def shaker(rng: np.random.Generator) -> Drum:
    """Draw a shaker, maraca or cabasa: grains that come in and go."""
    rise_s, decay_s = _between(rng, 0.002, 0.02), _between(rng, 0.012, 0.06)
    time_s = time_axis_s(rise_s + 7 * decay_s)
    grains = filtered(rng.standard_normal(time_s.size), _between(rng, 2500, 7000), _between(rng, 9000, 18000))
    envelope = (1 - np.exp(-time_s / rise_s)) * np.exp(-time_s / decay_s)
    return lambda force: scaled_hit(grains * envelope, 0.35 * (0.5 + 0.5 * force))


def side_stick(rng: np.random.Generator) -> Drum:
    """Draw a stick that lies on the head and strikes the rim."""
    time_s = time_axis_s(0.25)
    tone = np.sin(2 * np.pi * rng.uniform(400, 3200, (3, 1)) * time_s + 0.6).sum(axis=0)
    tone *= np.exp(-time_s / _between(rng, 0.006, 0.04))
    tap = 0.8 * _click(rng, time_s.size, 0.0015, 1000, 12000)
    return lambda force: scaled_hit(tone + force * tap, 0.6)


def cymbal(
    rng: np.random.Generator,
    decay_s: float,
    low_hz: float,
    *,
    ping: float = 0.0,
    swell_s: float = 0.0,
    level: float = 0.6,
) -> Drum:
    """Draw a hi-hat or cymbal: noise and partials above `low_hz`, a stick's `ping`, a wash that comes in `swell_s`."""
    decays_s = decay_s * np.linspace(rng.uniform(1.0, 2.2), rng.uniform(0.4, 1.0), 4)
    time_s = time_axis_s(float(min(4 * decays_s.max(), 1.8)))
    bands = _bands(rng, time_s, np.geomspace(low_hz, _between(rng, 11000, 20000), 5), decays_s)
    bands *= (rng.uniform(0.2, 1.0, 4) * np.linspace(rng.uniform(0.1, 1.0), 1.0, 4))[:, None]
    partials_hz = np.exp(rng.uniform(np.log(low_hz), np.log(12000), (16, 1)))
    partials = rng.uniform(0, 1, 16) @ np.sin(2 * np.pi * partials_hz * time_s + rng.uniform(0, 6.28, (16, 1)))
    wash = rng.choice([0.02, 0.1, 0.25]) * partials * np.exp(-time_s / decay_s)
    came_in = 1 - 0.8 * np.exp(-time_s / swell_s) if swell_s else np.ones(time_s.size)
    bell = np.sin(2 * np.pi * rng.uniform(2500, 7000, (3, 1)) * time_s + 0.5).sum(axis=0)
    bell *= ping * np.exp(-time_s / _between(rng, 0.02, 0.12))
    tap = (0.3 + ping) * _click(rng, time_s.size, 0.0015, 2500, 16000)
    # A soft stroke wakes the high modes less.
    return lambda force: scaled_hit(
        (np.linspace(1, 0.4 + 0.6 * force, 4) @ bands + wash) * came_in + bell + force * tap, level
    )


class _Struck(Mapping[int, tuple[Layer, ...]]):
    """The layers of each note, made when they are first asked for: few pieces use every drum."""

    def __init__(self, recipes: Mapping[tuple[int, ...], Callable[[], Drum]]) -> None:
        self._drums = {notes: lru_cache(lambda draw=draw: _layers(draw())) for notes, draw in recipes.items()}
        self._notes = {note: notes for notes in recipes for note in notes}

    def __getitem__(self, note: int) -> tuple[Layer, ...]:
        return self._drums[self._notes[note]]()

    def __iter__(self) -> Iterator[int]:
        return iter(self._notes)

    def __len__(self) -> int:
        return len(self._notes)


def _layers(drum: Drum) -> tuple[Layer, ...]:
    return tuple(Layer(velocity, (drum(force),)) for velocity, force in _FORCES)


def acoustic_kit(rng: np.random.Generator) -> SampledKit:
    """Draw a whole kit: every General MIDI drum of the ten classes, struck at three forces, and hand percussion."""
    hat_hz, hat_s = _between(rng, 1500, 6000), _between(rng, 0.015, 0.09)
    bronze_hz = _between(rng, 350, 2200)
    tom_hz = rng.uniform(65, 115) * np.array([1.0, 1.3, 1.75]) * rng.uniform(0.92, 1.08, 3)
    open_s, crash_s, splash_s, ride_s = (
        _between(rng, *span) for span in ((0.12, 0.7), (0.4, 1.4), (0.15, 0.6), (0.2, 1.2))
    )
    swell_s, ping, bell = _between(rng, 0.002, 0.02), _between(rng, 0.1, 1.2), _between(rng, 1.0, 3.0)
    brushes = rng.random() < 0.15
    # A generator a drum, so that no drum depends on which others are struck.
    own = [np.random.default_rng(int(seed)) for seed in rng.integers(2**63, size=15)]
    return SampledKit(
        "acoustic",
        _Struck(
            {
                (35, 36): lambda: kick(own[0]),
                (38, 40): lambda: brushed_snare(own[1]) if brushes else snare(own[1]),
                (37,): lambda: side_stick(own[2]),
                (42, 22): lambda: cymbal(own[3], hat_s, hat_hz, level=0.5),
                (44,): lambda: cymbal(own[4], hat_s * 0.8, hat_hz * 0.8, level=0.3),
                (46, 26): lambda: cymbal(own[5], open_s, hat_hz, level=0.5),
                (49, 57): lambda: cymbal(own[6], crash_s, bronze_hz, swell_s=swell_s),
                (52, 55): lambda: cymbal(own[7], splash_s, bronze_hz * 1.4),
                (51, 59): lambda: cymbal(own[8], ride_s, bronze_hz, ping=ping, level=0.4),
                (53,): lambda: cymbal(own[9], 0.4, bronze_hz * 1.5, ping=bell, level=0.45),
                (41, 43, 58): lambda: tom(own[10], float(tom_hz[0])),
                (45, 47): lambda: tom(own[11], float(tom_hz[1])),
                (48, 50): lambda: tom(own[12], float(tom_hz[2])),
                (54,): lambda: tambourine(own[13]),
                (69, 70, 82): lambda: shaker(own[14]),
            }
        ),
    )
