"""Fitting the beat decoder to a trained network, on validation tracks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backbeat.beat.decode import BeatDecoding, decode_beats
from backbeat.beat.score import score_track
from backbeat.errors import ConfigError
from backbeat.music import Beats

#: Shares of a track's level that tuning tries.
GRID: tuple[float, ...] = (0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 0.6, 0.7, 0.8)
#: Scores nearer than this to the best are as good; of those the value nearest to the one given is taken. About the
#: standard error on a hundred tracks: what wins by less on rendered music loses on records (docs/experiments.md).
INDIFFERENCE = 0.02
#: The decoder as it is without tuning.
DEFAULT = BeatDecoding()


def tune_decoding(
    references: Sequence[Beats],
    outputs: Sequence[NDArray[np.floating]],
    frame_rate_hz: float,
    params: BeatDecoding = DEFAULT,
    *,
    grid: Sequence[float] = GRID,
) -> tuple[BeatDecoding, dict[str, float]]:
    """Choose the thresholds of beats, then of downbeats, by the mean F-measure over tracks.

    To be given validation tracks: neither those trained on nor those reported.

    Parameters
    ----------
    references
        True beats of each track.
    outputs
        Activations of each track, shape (frames, 2): beat and downbeat.
    frame_rate_hz
        Frames a second.
    params
        The other parameters, and where to stay when nothing is gained.
    grid
        Thresholds to try.

    Returns
    -------
    The parameters, and ``beat_f`` and ``downbeat_f`` as reached (the latter only where downbeats are annotated).

    Raises
    ------
    ConfigError
        If there are not as many references as outputs, or none.
    """
    if not references or len(references) != len(outputs):
        raise ConfigError(f"thresholds need tracks: {len(references)} have annotations, {len(outputs)} activations")
    reached: dict[str, float] = {}
    for field, measure in (("threshold", "beat_f"), ("downbeat_threshold", "downbeat_f")):
        now: float = getattr(params, field)
        means: dict[float, float] = {}
        for value in sorted({*grid, now}):
            trial = _with(params, field, value)
            scores = np.array(
                [
                    score_track(truth, decode_beats(output[:, 0], output[:, 1], frame_rate_hz, trial))[measure]
                    for truth, output in zip(references, outputs, strict=True)
                ]
            )
            if np.isnan(scores).all():
                break
            means[value] = float(np.nanmean(scores))
        if means:
            best = max(means.values())
            good = [value for value, mean in means.items() if mean >= best - INDIFFERENCE]
            chosen = min(good, key=lambda value: (abs(value - now), value))
            params = _with(params, field, chosen)
            reached[measure] = means[chosen]
    return params, reached


def _with(params: BeatDecoding, field: str, value: float) -> BeatDecoding:
    changes: dict[str, Any] = {field: value}
    return replace(params, **changes)
