"""From an onset network's activations to onsets and drum hits.

Peak picking after Böck, Krebs and Schedl ("Evaluating the online capabilities of onset detection methods", ISMIR 2012):
an onset is a local maximum that exceeds a moving average by a threshold and lies no nearer to another than a shortest
interval. Of two that are too near the stronger stays, whichever comes first; hence which maxima there are does not
depend on the threshold, and thresholds can be tuned over a grid after a single pass.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from backbeat.errors import ConfigError, ModelError
from backbeat.music import DRUMS, NOTE, Onsets

#: The name under which thresholds and scores of all onsets together stand.
ANY = "onset"
#: Drums of which one instrument can give only one sound at a time.
_HIHATS = np.array([DRUMS.index(name) for name in ("hihat_closed", "hihat_open", "hihat_pedal")])
#: Thresholds that tuning tries.
GRID: tuple[float, ...] = tuple(round(0.02 * step, 2) for step in range(2, 46))

Activations = tuple[NDArray[np.floating], NDArray[np.floating], NDArray[np.floating]]


def _even_thresholds() -> dict[str, float]:
    return dict.fromkeys((ANY, *DRUMS), 0.3)


@dataclass(frozen=True)
class OnsetDecoding:
    """How peaks are picked.

    Parameters
    ----------
    thresholds
        How far a peak must exceed the moving average, for "onset" and each drum; those left out are 0.3.
    combine_s
        Onsets nearer to each other than this are one.
    refractory_s
        Strokes of the same drum nearer than this are one; short enough to keep flams.
    average_before_s, average_after_s, average_weight
        The moving average: how far it reaches, and how much of it is asked for on top of the threshold.
    prominence
        A peak must rise above the valleys beside it by this share of its height, so that a ripple is not a second peak.

    Raises
    ------
    ConfigError
        If a threshold is unknown or not in (0, 1), or a time is negative.
    """

    thresholds: Mapping[str, float] = field(default_factory=_even_thresholds)
    combine_s: float = 0.03
    refractory_s: float = 0.03
    average_before_s: float = 0.1
    average_after_s: float = 0.07
    average_weight: float = 0.25
    prominence: float = 0.15

    def __post_init__(self) -> None:
        unknown = sorted(set(self.thresholds) - {ANY, *DRUMS})
        if unknown:
            raise ConfigError(f"threshold for unknown class {unknown[0]!r}; the classes are {ANY}, {', '.join(DRUMS)}")
        if not all(0 < value < 1 for value in self.thresholds.values()):
            raise ConfigError("thresholds of the onset decoder must lie between 0 and 1")
        if min(self.combine_s, self.refractory_s, self.average_before_s, self.average_after_s) < 0:
            raise ConfigError("times of the onset decoder must not be negative")
        object.__setattr__(self, "thresholds", _even_thresholds() | dict(self.thresholds))


def decode_onsets(
    onset_probability: ArrayLike,
    drum_probabilities: ArrayLike,
    drum_velocities: ArrayLike,
    frame_rate_hz: float,
    params: OnsetDecoding = OnsetDecoding(),
) -> tuple[Onsets, Onsets]:
    """Find the onsets and the drum hits.

    Parameters
    ----------
    onset_probability
        Shape (frames,), in [0, 1]; frame t is at `t / frame_rate_hz` seconds.
    drum_probabilities, drum_velocities
        Shape (frames, drums), in [0, 1], in the order of `backbeat.music.DRUMS`.
    frame_rate_hz
        Frames a second.
    params
        How peaks are picked.

    Returns
    -------
    All onsets, of class "note", their strength as velocity; and the hits of drums, each with its class and velocity.

    Raises
    ------
    ModelError
        If activations hold NaN or leave [0, 1].
    ConfigError
        If shapes do not fit.
    """
    onset, drums = _checked(onset_probability, 1), _checked(drum_probabilities, 2)
    velocities = _checked(drum_velocities, 2)
    if drums.shape != (onset.size, len(DRUMS)) or velocities.shape != drums.shape:
        raise ConfigError(f"{onset.size} frames of onsets, drums {drums.shape}, velocities {velocities.shape}")
    frames, excess = _peaks(onset, params.combine_s, frame_rate_hz, params)
    frames = frames[excess >= params.thresholds[ANY]]
    all_onsets = Onsets(
        refined(onset, frames) / frame_rate_hz, (NOTE,) * frames.size, np.clip(onset[frames], 1e-3, 1.0)
    )

    found: list[tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]] = []
    for index, name in enumerate(DRUMS):
        frames, excess = _peaks(drums[:, index], params.refractory_s, frame_rate_hz, params)
        chosen = excess >= params.thresholds[name]
        frames, excess = frames[chosen], excess[chosen]
        times_s = refined(drums[:, index], frames) / frame_rate_hz
        # The stroke is as hard as the network says where it is surest, weighted over the peak's three frames.
        around = np.clip(frames[:, None] + np.arange(-1, 2), 0, onset.size - 1)
        weights = drums[around, index] + 1e-9
        velocity = (velocities[around, index] * weights).sum(axis=1) / weights.sum(axis=1)
        found.append((times_s, np.full(frames.size, index), velocity, excess / params.thresholds[name]))
    times_s, classes, velocity, certainty = (np.concatenate(column) for column in zip(*found, strict=True))
    order = np.lexsort((classes, times_s))
    kept = order[_one_hihat(times_s[order], classes[order], certainty[order], params.combine_s)]
    names = [DRUMS[index] for index in classes[kept]]
    return all_onsets, Onsets(times_s[kept], names, np.clip(velocity[kept], 1e-3, 1.0))


def merged_times_s(times_s: NDArray[np.float64], combine_s: float) -> NDArray[np.float64]:
    """Return the first time of each group of sorted times that begins within `combine_s` of its first."""
    if times_s.size == 0 or np.all(np.diff(times_s) >= combine_s):
        return times_s
    kept = [0]
    while (following := int(np.searchsorted(times_s, times_s[kept[-1]] + combine_s))) < times_s.size:
        kept.append(following)
    return times_s[kept]


def tune_thresholds(
    references: Sequence[Onsets],
    outputs: Sequence[Activations],
    frame_rate_hz: float,
    params: OnsetDecoding = OnsetDecoding(),
    *,
    window_s: float = 0.05,
    grid: Sequence[float] = GRID,
) -> tuple[OnsetDecoding, dict[str, float]]:
    """Choose for each class the threshold with the best F-measure over all tracks together (micro).

    To be given validation tracks: neither those trained on nor those reported.

    Parameters
    ----------
    references
        True onsets of each track.
    outputs
        The three arguments of `decode_onsets` for each track.
    frame_rate_hz
        Frames a second.
    params
        The other parameters, and thresholds for classes that do not occur in `references`.
    window_s
        Greatest distance of a match.
    grid
        Thresholds to try, increasing. Of several equally good the middle one is taken.

    Returns
    -------
    The parameters, and "onset_f", "kick_f"... for classes that occur: the F-measure reached (each class on its own,
    that is, before hi-hats exclude each other).

    Raises
    ------
    ConfigError
        If there are not as many references as outputs, or none.
    """
    from backbeat.onset.matching import count_matches_above

    if not references or len(references) != len(outputs):
        raise ConfigError(f"thresholds need tracks: {len(references)} have annotations, {len(outputs)} activations")
    levels = np.asarray(grid, dtype=np.float64)
    thresholds, scores = dict(params.thresholds), {}
    for column, name in enumerate((ANY, *DRUMS)):
        truth, candidates, strengths = [], [], []
        start_s = 0.0  # tracks are laid end to end, further apart than any match
        for reference, output in zip(references, outputs, strict=True):
            times_s = reference.times_s if name == ANY else reference.of(name).times_s
            truth.append(start_s + (merged_times_s(times_s, params.combine_s) if name == ANY else times_s))
            activation = _checked(output[0] if name == ANY else output[1][:, column - 1], 1)
            shortest_s = params.combine_s if name == ANY else params.refractory_s
            frames, excess = _peaks(activation, shortest_s, frame_rate_hz, params)
            candidates.append(start_s + refined(activation, frames) / frame_rate_hz)
            strengths.append(excess)
            start_s += (
                max(activation.size / frame_rate_hz, float(reference.times_s.max(initial=0.0))) + 1 + 2 * window_s
            )
        true_s = np.concatenate(truth)
        if true_s.size == 0:
            continue
        matched, kept = count_matches_above(
            true_s, np.concatenate(candidates), np.concatenate(strengths), levels, window_s
        )
        f = 2 * matched / (kept + true_s.size)
        best = np.flatnonzero(f >= f.max() - 1e-12)
        # The run of equally good thresholds that begins first: a later one may be far away by chance.
        run = best[: int(np.argmax(np.diff(best, append=best[-1] + 2) > 1)) + 1]
        if f.max() > 0:
            thresholds[name] = float(levels[run[(run.size - 1) // 2]])
        scores[f"{name}_f"] = float(f.max())
    return replace(params, thresholds=thresholds), scores


def _checked(values: ArrayLike, dimensions: int) -> NDArray[np.float64]:
    activation = np.asarray(values, dtype=np.float64)
    if activation.ndim != dimensions:
        raise ConfigError(f"activations of shape {activation.shape} must have {dimensions} dimensions")
    if not np.all((activation >= 0) & (activation <= 1)):
        raise ModelError("onset activations hold NaN or leave [0, 1]")
    return activation


def _peaks(
    activation: NDArray[np.float64], shortest_s: float, frame_rate_hz: float, params: OnsetDecoding
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the frames of the local maxima, and by how much each exceeds the moving average."""
    from scipy.signal import find_peaks

    if activation.size == 0:
        return np.empty(0, dtype=np.int64), np.empty(0)
    # Below the least threshold of the grid nothing is ever picked: leaving it out early keeps this quick.
    padded = np.pad(activation, 1)
    least = min(0.01, *params.thresholds.values())
    apart = max(1, int(np.ceil(shortest_s * frame_rate_hz - 1e-6)))
    # A top that stays flat for longer than 0.2 s is a level, not a peak.
    frames, properties = find_peaks(
        padded,
        height=least,
        plateau_size=(1, max(1, round(0.2 * frame_rate_hz))),
        prominence=least * params.prominence,
        wlen=max(3, 2 * round(0.25 * frame_rate_hz) + 1),
    )
    steep = properties["prominences"] >= params.prominence * properties["peak_heights"]
    frames = _strongest(frames[steep] - 1, padded[frames[steep]], apart)
    before, after = round(params.average_before_s * frame_rate_hz), round(params.average_after_s * frame_rate_hz)
    sums = np.concatenate([[0.0], np.cumsum(activation)])
    first, last = np.maximum(frames - before, 0), np.minimum(frames + after + 1, activation.size)
    # A share of the full window even at the ends, where the missing frames count as silence.
    average = (sums[last] - sums[first]) / (before + after + 1)
    return frames, activation[frames] - params.average_weight * average


def _strongest(frames: NDArray[np.int64], heights: NDArray[np.float64], apart: int) -> NDArray[np.int64]:
    """Drop every peak that has a stronger one, itself kept, nearer than `apart` frames."""
    kept = np.ones(frames.size, dtype=bool)
    if frames.size < 2 or np.diff(frames).min() >= apart:
        return frames
    for peak in np.argsort(-heights, kind="stable"):
        if kept[peak]:
            near = slice(*np.searchsorted(frames, [frames[peak] - apart + 1, frames[peak] + apart]))
            kept[near] = False
            kept[peak] = True
    return frames[kept]


def refined(activation: NDArray[np.float64], frames: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return peaks in fractions of a frame: the top of the parabola through three points, never before frame 0."""
    padded = np.pad(activation, 1)
    left, middle, right = padded[frames], padded[frames + 1], padded[frames + 2]
    curvature = left - 2 * middle + right
    curved = curvature < -1e-9
    offset = np.where(curved, 0.5 * (left - right) / np.where(curved, curvature, 1.0), 0.0)
    refined: NDArray[np.float64] = np.maximum(frames + np.clip(offset, -0.5, 0.5), 0.0)
    return refined


def _one_hihat(
    times_s: NDArray[np.float64], classes: NDArray[np.int64], certainty: NDArray[np.float64], combine_s: float
) -> NDArray[np.bool_]:
    """Keep of hi-hat strokes nearer than `combine_s` only the surest: one pair of cymbals makes one sound at a time."""
    kept = np.ones(times_s.size, dtype=bool)
    hihats = np.flatnonzero(np.isin(classes, _HIHATS))
    group: list[int] = []
    for hit in [*hihats.tolist(), -1]:
        if group and (hit < 0 or times_s[hit] - times_s[group[0]] >= combine_s):
            best = max(group, key=lambda member: (certainty[member], -member))
            kept[[member for member in group if member != best]] = False
            group = []
        if hit >= 0:
            group.append(hit)
    return kept
