"""From beats to seconds: steady, drifting, pushed, ramped and rubato tempo."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from backbeat.errors import CorpusError

#: What a tempo may do in the course of a piece.
TEMPO_KINDS: tuple[str, ...] = ("steady", "drift", "push", "ramp", "rubato")

# Local tempo stays within these factors of the nominal one, so that the beat can still be followed.
_SLOWEST, _FASTEST = 0.6, 1.35


@dataclass(frozen=True, eq=False)
class TempoMap:
    """Where each beat falls.

    Parameters
    ----------
    times_s
        Shape (beats,), seconds of beat 0, 1, 2...; strictly increasing, at least two.
    """

    times_s: NDArray[np.float64]

    def seconds(self, beats: ArrayLike) -> NDArray[np.float64]:
        """Map beats (any shape, fractions allowed) to seconds; beyond the ends the last tempo goes on."""
        where = np.asarray(beats, dtype=np.float64)
        whole = np.clip(np.floor(where).astype(np.int64), 0, self.times_s.size - 2)
        start_s = self.times_s[whole]
        return np.asarray(start_s + (where - whole) * (self.times_s[whole + 1] - start_s))


def make_tempo_map(
    rng: np.random.Generator, kind: str, bpm: float, beats: int, *, beats_per_bar: int, bar_pushes: NDArray[np.float64]
) -> TempoMap:
    """Make a tempo map of `beats` beats that starts at 0 s.

    Parameters
    ----------
    kind
        One of `TEMPO_KINDS`: "steady" as by a machine; "drift" a slow random walk, as without a click; "push" a drift
        that follows the form (`bar_pushes`); "ramp" faster or slower from end to end; "rubato" arches over phrases,
        slowing at their ends, with beats now and then held.
    bpm
        Nominal tempo in counted beats a minute.
    bar_pushes
        Shape (bars,), how far each bar is pushed, about -1..1; taken by "push" only.

    Raises
    ------
    CorpusError
        If the kind is unknown, or there are fewer than two beats.
    """
    if kind not in TEMPO_KINDS:
        raise CorpusError(f"tempo kind {kind!r} must be one of {', '.join(TEMPO_KINDS)}")
    if beats < 2:
        raise CorpusError(f"a tempo map needs two beats, not {beats}")
    index = np.arange(beats)
    bar = index // beats_per_bar
    log_tempo = np.zeros(beats)
    if kind in ("drift", "push"):
        log_tempo += _random_walk(rng, beats, step=rng.uniform(0.001, 0.005), pull=0.04)
    if kind == "push":
        log_tempo += rng.uniform(0.005, 0.03) * bar_pushes[np.minimum(bar, bar_pushes.size - 1)]
    if kind == "ramp":
        reach = rng.choice([-1.0, 1.0]) * rng.uniform(0.04, 0.18)
        log_tempo += reach * (index / beats - 0.5) + _random_walk(rng, beats, step=0.002, pull=0.05)
    if kind == "rubato":
        log_tempo += _rubato(rng, beats, beats_per_bar)
    factor = np.clip(np.exp(log_tempo), _SLOWEST, _FASTEST)
    periods_s = 60.0 / (bpm * factor)
    if kind not in ("steady",):
        periods_s *= 1 + rng.normal(0, 0.002, beats)
    return TempoMap(np.concatenate(([0.0], np.cumsum(periods_s))))


def _random_walk(rng: np.random.Generator, length: int, *, step: float, pull: float) -> NDArray[np.float64]:
    """Return a walk that is drawn back to zero (an Ornstein-Uhlenbeck process), shape (length,)."""
    from scipy.signal import lfilter

    walk: NDArray[np.float64] = lfilter([1.0], [1.0, -(1.0 - pull)], rng.normal(0, step, length))
    return walk


def _rubato(rng: np.random.Generator, beats: int, beats_per_bar: int) -> NDArray[np.float64]:
    """Return log tempo: an arch a phrase, a ritardando at its end, and now and then a held beat.

    Arches of tempo over phrases follow Todd, "The dynamics of dynamics: a model of musical expression" (JASA 91,
    1992): faster towards the middle, slower at the boundary.
    """
    phrase = beats_per_bar * int(rng.choice([2, 4, 4, 8]))
    depth = rng.uniform(0.03, 0.16)
    place = (np.arange(beats) % phrase) / phrase
    arch = depth * (np.sin(np.pi * place) - 0.6) - 1.3 * depth * np.clip((place - 0.8) / 0.2, 0, 1) ** 2
    held = rng.random(beats) < rng.uniform(0, 0.02)
    walk = _random_walk(rng, beats, step=rng.uniform(0.003, 0.018), pull=0.15)
    return np.asarray(arch + walk - 0.25 * held)
