"""Bars at a tempo that is given: only their phase is to be heard."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from backbeat.beat.meter import estimate_tempo_bpm, estimate_time_signature
from backbeat.charts.chart import Strokes
from backbeat.charts.quantising.bars import Layout, lay_out_bars
from backbeat.charts.quantising.tempo_map import TempoMap
from backbeat.music import Beats, TimeSignature

#: Beats heard that are as many times as fast as those given are the same tempo, counted otherwise.
_OCTAVES = (1.0, 2.0, 0.5, 4.0, 0.25)
#: A tempo that differs by more than this share is another one.
_DISAGREES = 0.01


def lay_out_at_tempo(
    bpm: float,
    beats: Beats,
    onsets_s: ArrayLike,
    strokes: Strokes,
    duration_s: float,
    signature: TimeSignature | None = None,
) -> tuple[Layout, TempoMap, list[str]]:
    """Lay bars at one tempo.

    Parameters
    ----------
    bpm
        Quarter notes a minute.
    beats
        As heard; may be none, then the first stroke is on a beat.
    onsets_s, strokes, signature
        As `lay_out_bars`. Without a signature it is the one that is heard, 4/4 where none is.
    duration_s
        Of the audio.

    Returns
    -------
    The bars, when they sound, and what of the beats heard disagrees with the tempo.
    """
    heard = estimate_time_signature(beats, onsets_s)
    meter = signature or heard or TimeSignature(4, 4)
    unit = 4.0 * meter.numerator / meter.denominator / meter.beats_per_bar
    beat_s = 60.0 * unit / bpm
    phase_s = _phase_s(beats, strokes, beat_s)
    count = max(2, int((duration_s - phase_s) / beat_s) + 1)
    times_s = phase_s + beat_s * np.arange(count, dtype=np.float64)
    grid = Beats(times_s, _tracked_positions(times_s, beats, beat_s))
    layout = lay_out_bars(grid, onsets_s, strokes, meter)
    start = float(layout.quarters[0])
    tempo_map = TempoMap(np.array([start, start + 1.0]), np.array([phase_s, phase_s + 60.0 / bpm]))
    return layout, tempo_map, _disagreement(bpm, unit, beats)


def _phase_s(beats: Beats, strokes: Strokes, beat_s: float) -> float:
    """Return when the first beat of a grid falls: where most beats heard are, or strokes if there are no beats."""
    if len(beats) >= 2:
        return _circular_mean_s(beats.times_s, beat_s)
    if len(strokes):
        return float(strokes.times_s[0]) % beat_s
    return float(beats.times_s[0]) % beat_s if len(beats) else 0.0


def _circular_mean_s(times_s: NDArray[np.float64], period_s: float) -> float:
    """Return the phase that times have most in common, seconds in [0, period)."""
    phases = times_s % period_s
    bins = max(8, round(period_s / 0.01))
    counts = np.bincount((phases / period_s * bins).astype(np.int64) % bins, minlength=bins).astype(float)
    smooth = counts + np.roll(counts, 1) + np.roll(counts, -1)
    centre = (int(np.argmax(smooth)) + 0.5) * period_s / bins
    away_s = (phases - centre + period_s / 2) % period_s - period_s / 2
    near = np.abs(away_s) < 0.03
    return float((centre + (np.median(away_s[near]) if near.any() else 0.0)) % period_s)


def _tracked_positions(times_s: NDArray[np.float64], beats: Beats, beat_s: float) -> NDArray[np.int64] | None:
    """Return 1 where a downbeat was heard at a beat of the grid and 2 elsewhere; None where none was."""
    downbeats_s = beats.downbeats_s
    if downbeats_s.size == 0:
        return None
    nearest = np.clip(np.round((downbeats_s - times_s[0]) / beat_s).astype(np.int64), 0, times_s.size - 1)
    positions = np.full(times_s.size, 2, dtype=np.int64)
    positions[nearest[np.abs(times_s[nearest] - downbeats_s) < 0.25 * beat_s]] = 1
    return positions


def _disagreement(bpm: float, unit: float, beats: Beats) -> list[str]:
    tempo = estimate_tempo_bpm(beats)
    if tempo is None:
        return ["no beats were heard; bars begin with the first stroke"] if len(beats) == 0 else []
    heard = tempo * unit
    ratio = min((heard / (bpm * factor) for factor in _OCTAVES), key=lambda one: abs(np.log(one)))
    if abs(ratio - 1) <= _DISAGREES:
        return []
    return [f"the tempo is {bpm:g} BPM as asked for, though beats were heard at {heard:.2f}"]
