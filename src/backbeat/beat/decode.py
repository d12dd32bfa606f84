"""From a beat network's activations to beats with their positions in the bar.

Two stages. Beats: the bar-pointer model of Krebs, Böck and Widmer ("An efficient state-space model for joint tempo and
meter tracking", ISMIR 2015), in which the tempo may change only at beats and small changes are likelier than large
ones. Between two beats its states follow each other of necessity, so the search runs over beats rather than over
states (a semi-Markov form): exact, some tens of times quicker, free to hold tempi that are no whole number of frames,
and able to tell the timing of one beat (Gaussian) from a change of tempo (Laplacian on its logarithm). Bars: a
hidden Markov model over the beats found, whose states are the positions of all meters considered, as in the joint model
of Böck, Krebs and Widmer ("Joint beat and downbeat tracking with recurrent neural networks", ISMIR 2016).

Networks differ in how sure of themselves they are, and one network does from track to track. A frame therefore
counts for or against a beat by its log-odds against a share of the level that the track's own peaks reach.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import maximum_filter1d

from backbeat.beat.meter import estimate_tempo_bpm, estimate_time_signature
from backbeat.errors import ConfigError, ModelError
from backbeat.music import Beats

__all__ = [
    "BeatDecoding",
    "decode_beats",
    "estimate_tempo_bpm",
    "estimate_time_signature",
    "peak_pick_beats",
]

_CHANCE = (1e-4, 1 - 1e-4)


@dataclass(frozen=True)
class BeatDecoding:
    """What the decoder assumes about music and about activations.

    Parameters
    ----------
    min_bpm, max_bpm
        The tempi considered, beats a minute.
    tempo_step
        Ratio between neighbouring tempi, less one.
    transition_lambda
        Cost of a change of tempo, for each unit of its natural logarithm; larger holds the tempo steadier.
    timing_deviation
        Standard deviation of one interval between beats, as a share of the beat.
    jump_cost
        Cost of an interval outside every tempo (an edit, a beat dropped or added in part).
    threshold
        Log-odds are counted from this share of the track's own level.
    sharpness, evidence_limit
        Factor on the log-odds, and the most that one beat can add to or take from a path. A network that learnt from
        weighted events on clear music is surer of itself than it should be: less than 1.
    presence
        Activations below this say that there is no beat.
    gap_s
        A stretch without presence of this length or longer has no beats.
    meters
        Beats a bar that are considered.
    meter_costs
        Cost of beginning with each of `meters`, or of going over to it: how much rarer it is (negative logarithm).
    short_bar_cost
        Cost of each bar of two beats. The third beat of four also sounds like a downbeat, so that two bars of two
        gather evidence at both where one bar of four has it once.
    meter_change_cost
        Cost of going to another meter at a barline; a bar with a beat more or less pays it twice.
    downbeat_threshold
        As `threshold`, for downbeats among the beats.

    Raises
    ------
    ConfigError
        If the numbers make no decoder.
    """

    min_bpm: float = 45.0
    max_bpm: float = 230.0
    tempo_step: float = 0.02
    transition_lambda: float = 60.0
    timing_deviation: float = 0.025
    jump_cost: float = 20.0
    threshold: float = 0.3
    sharpness: float = 0.75
    evidence_limit: float = 4.0
    presence: float = 0.05
    gap_s: float = 4.0
    meters: tuple[int, ...] = (2, 3, 4, 5, 6, 7)
    meter_costs: tuple[float, ...] = (2.0, 1.0, 0.0, 4.0, 4.0, 4.0)
    short_bar_cost: float = 1.0
    meter_change_cost: float = 8.0
    downbeat_threshold: float = 0.6

    def __post_init__(self) -> None:
        object.__setattr__(self, "meters", tuple(self.meters))  # lists, when they come from JSON
        object.__setattr__(self, "meter_costs", tuple(self.meter_costs))
        if not 10 <= self.min_bpm < self.max_bpm <= 600:
            raise ConfigError(f"beats from {self.min_bpm} to {self.max_bpm} BPM: give 10 to 600, the lower first")
        if len(self.meters) != len(self.meter_costs) or not self.meters or min(self.meters) < 1:
            raise ConfigError(f"{len(self.meters)} meters need as many costs, and at least one beat a bar")
        if not 0 < self.presence < 1 or not 0 < self.threshold < 1 or not 0 < self.downbeat_threshold < 1:
            raise ConfigError("presence and thresholds of the beat decoder must lie between 0 and 1")
        if not 0.001 <= self.tempo_step <= 0.5 or self.timing_deviation <= 0 or self.gap_s <= 0:
            raise ConfigError("tempo_step must lie in 0.001..0.5, timing_deviation and gap_s above 0")


def decode_beats(
    beat_probability: ArrayLike,
    downbeat_probability: ArrayLike,
    frame_rate_hz: float,
    params: BeatDecoding = BeatDecoding(),
) -> Beats:
    """Find the beats and their positions in the bar.

    Parameters
    ----------
    beat_probability, downbeat_probability
        Shape (frames,), in [0, 1]; frame t is at `t / frame_rate_hz` seconds.
    frame_rate_hz
        Frames a second.
    params
        The decoder's assumptions.

    Returns
    -------
    Beats, refined below the frame; none where nothing is heard. Positions are None when no downbeat reaches
    `params.presence`.

    Raises
    ------
    ModelError
        If activations hold NaN or leave [0, 1].
    ConfigError
        If the two differ in shape, or the frame rate is too low for the fastest tempo.
    """
    downbeat = _checked(downbeat_probability, "downbeat")
    beat = _checked(beat_probability, "beat")
    if beat.shape != downbeat.shape:
        raise ConfigError(f"{beat.size} frames of beat activation, {downbeat.size} of downbeat activation")
    if not frame_rate_hz * 60 / params.max_bpm >= 2:
        raise ConfigError(f"{frame_rate_hz:g} frames a second are too few for {params.max_bpm:g} BPM")
    beat = np.maximum(beat, downbeat)
    found, broken = _beat_frames(beat, frame_rate_hz, params)
    if found.size == 0:
        return Beats(np.empty(0), np.empty(0, dtype=np.int64))
    times_s = _refine(beat, found, broken, frame_rate_hz, params) / frame_rate_hz
    return Beats(np.maximum(times_s, 0.0), _bar_positions(downbeat, found, broken, frame_rate_hz, params))


def peak_pick_beats(
    beat_probability: ArrayLike,
    downbeat_probability: ArrayLike,
    frame_rate_hz: float,
    threshold: float = 0.5,
    window_s: float = 0.07,
) -> Beats:
    """Take each local maximum above a threshold as a beat: the plain alternative, without a model of tempo.

    A maximum is the largest value within `window_s` on either side. A beat whose downbeat activation also reaches the
    threshold begins a bar, and the beats after it count on; positions are None when there is no downbeat.

    Raises
    ------
    ModelError
        If activations hold NaN or leave [0, 1].
    """
    from scipy.signal import find_peaks

    beat, downbeat = _checked(beat_probability, "beat"), _checked(downbeat_probability, "downbeat")
    apart = max(1, round(window_s * frame_rate_hz))
    found = find_peaks(np.pad(beat, 1, constant_values=-1.0), height=threshold, distance=apart)[0] - 1
    begins = _at_beats(downbeat, found, max(1, round(0.04 * frame_rate_hz))) >= threshold
    if not begins.any():
        return Beats(found / frame_rate_hz)
    latest = np.maximum.accumulate(np.where(begins, np.arange(found.size), -1))
    first = int(np.argmax(begins))
    pick_up = np.full(found.size, max(4, first) + 1) - (first - np.arange(found.size))
    positions = np.where(latest >= 0, np.arange(found.size) - latest + 1, pick_up)
    return Beats(found / frame_rate_hz, positions)


def _checked(values: ArrayLike, what: str) -> NDArray[np.float64]:
    activation = np.asarray(values, dtype=np.float64)
    if activation.ndim != 1:
        raise ConfigError(f"{what} activations must be of shape (frames,), not {activation.shape}")
    if not np.all((activation >= 0) & (activation <= 1)):
        raise ModelError(f"{what} activations hold NaN or leave [0, 1]")
    return activation


def _log_odds(probability: ArrayLike) -> NDArray[np.float64]:
    clipped = np.clip(probability, *_CHANCE)
    odds: NDArray[np.float64] = np.log(clipped / (1 - clipped))
    return odds


def _beat_frames(
    beat: NDArray[np.float64], frame_rate_hz: float, params: BeatDecoding
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return the frames of the beats, and whether the thread was cut before each."""
    nothing = np.empty(0, dtype=np.int64), np.empty(0, dtype=np.bool_)
    present = np.flatnonzero(beat >= params.presence)
    if present.size == 0:
        return nothing
    evidence, threshold = _evidence(beat, frame_rate_hz, params)
    if evidence is None:
        return nothing
    from backbeat.beat.viterbi import best_beats

    shortest, longest = 60 * frame_rate_hz / params.max_bpm, 60 * frame_rate_hz / params.min_bpm
    count = 1 + max(1, round(np.log(longest / shortest) / np.log1p(params.tempo_step)))
    periods = np.geomspace(shortest, longest, count)
    # Beats lie on frames here, which alone puts intervals off by up to a frame.
    deviations = np.sqrt(1 / 6 + (params.timing_deviation * periods) ** 2)
    step_cost = params.transition_lambda * np.log(longest / shortest) / (count - 1)
    cuts = np.flatnonzero(np.diff(present) >= params.gap_s * frame_rate_hz)
    found, broken = [nothing[0]], [nothing[1]]
    for first, last in zip(present[np.r_[0, cuts + 1]], present[np.r_[cuts, present.size - 1]], strict=True):
        if beat[first : last + 1].max() < threshold:  # a stray noise far from the music
            continue
        start = max(0, int(first) - 1)
        stretch = slice(start, int(last) + 2)
        beats, jumped = best_beats(evidence[stretch], periods, deviations, step_cost, params.jump_cost)
        before = _clear_beats_before(beat[stretch], beats, 2 * threshold)
        last_frame = beat[stretch].size - 1
        after = last_frame - _clear_beats_before(beat[stretch][::-1], last_frame - beats[::-1], 2 * threshold)
        found.append(np.concatenate([before, beats, after[::-1]]) + start)
        broken.append(np.concatenate([before < 0, jumped, after < 0]))
        broken[-1][0] = True
    return np.concatenate(found), np.concatenate(broken)


def _evidence(
    beat: NDArray[np.float64], frame_rate_hz: float, params: BeatDecoding
) -> tuple[NDArray[np.float64] | None, float]:
    """Return what a beat at each frame adds to a path, and the threshold of the whole track.

    The evidence is None where the activation is flat: it then says nothing of when.
    """
    # The level is what the peaks of most seconds reach, among seconds that have any; the floor lies between beats.
    seconds = np.maximum.reduceat(beat, np.arange(0, beat.size, max(1, int(frame_rate_hz))))
    level = float(np.percentile(seconds[seconds >= params.presence], 75))
    floor = float(np.percentile(beat, 25)) if beat.size > frame_rate_hz else 0.0
    if level - floor < params.presence:
        return None, level
    threshold = floor + params.threshold * (level - floor)
    # Where the music is quieter less is asked, half-way on the scale of decibels, so that a weak passage is neither
    # passed over at a slow tempo nor led by what noise there is in it.
    local = maximum_filter1d(beat, size=2 * int(2.0 * frame_rate_hz) + 1, mode="constant")
    ratio = np.sqrt(np.clip(local, params.presence, level) / level)
    odds = params.sharpness * (_log_odds(beat) - _log_odds(threshold * ratio))
    evidence: NDArray[np.float64] = np.clip(odds, -params.evidence_limit, params.evidence_limit)
    return evidence, threshold


def _clear_beats_before(beat: NDArray[np.float64], found: NDArray[np.int64], threshold: float) -> NDArray[np.int64]:
    """Return beats before the first, which a path leaves out where a change of tempo costs more than they give.

    So it is with the first beats after a pick-up and, backwards in time, with the last of a ritardando.
    """
    beats = found[:2].tolist()
    while len(beats) > 1:
        first, period = beats[0], beats[1] - beats[0]
        low, high = max(0, round(first - 1.35 * period)), round(first - 0.7 * period)
        if high <= low:
            break
        peak = low + int(np.argmax(beat[low : high + 1]))
        is_top = beat[peak] >= beat[max(0, peak - 1) : peak + 2].max()
        if beat[peak] < threshold or not is_top:
            break
        beats.insert(0, peak)
    return np.array(beats[: max(0, len(beats) - 2)], dtype=np.int64)


def _at_beats(activation: NDArray[np.float64], found: NDArray[np.int64], radius: int) -> NDArray[np.float64]:
    """Return the largest activation within `radius` frames of each beat, shape (beats,)."""
    around = np.clip(found[:, None] + np.arange(-radius, radius + 1), 0, activation.size - 1)
    largest: NDArray[np.float64] = activation[around].max(axis=1, initial=0.0)
    return largest


def _refine(
    beat: NDArray[np.float64],
    found: NDArray[np.int64],
    broken: NDArray[np.bool_],
    frame_rate_hz: float,
    params: BeatDecoding,
) -> NDArray[np.float64]:
    """Return the times of the beats in fractions of a frame.

    A parabola through the logarithm of the activation, which is exact for a Gaussian bump, at the largest value nearby.
    Beats without a peak of their own are spread evenly between the neighbours that have one.
    """
    shortest = int(60 * frame_rate_hz / params.max_bpm * (1 - 2.5 * params.timing_deviation))
    radius = max(0, min(round(0.04 * frame_rate_hz), (shortest - 2) // 2))
    # Three-point smoothing gives the flat top of a saturated activation a middle.
    padded = np.pad(beat, 1)
    smooth = 0.25 * padded[:-2] + 0.5 * padded[1:-1] + 0.25 * padded[2:]
    around = np.clip(found[:, None] + np.arange(-radius, radius + 1), 0, beat.size - 1)
    peaks = around[np.arange(found.size), np.argmax(smooth[around], axis=1)]
    left, middle, right = np.log(np.pad(smooth, 1)[peaks[:, None] + np.arange(3)] + 1e-6).T
    curvature = left - 2 * middle + right
    is_peak = (curvature < -1e-9) & (middle >= left) & (middle >= right)
    offset = np.where(is_peak, 0.5 * (left - right) / np.where(is_peak, curvature, 1.0), 0.0)
    heard = is_peak & (_at_beats(beat, peaks, 1) >= params.presence)
    frames = np.where(heard, peaks + np.clip(offset, -0.5, 0.5), found.astype(np.float64))
    threads = np.cumsum(broken)
    for thread in np.unique(threads[~heard]):
        members = np.flatnonzero(threads == thread)
        known = members[heard[members]]
        if known.size:
            lost = members[~heard[members] & (members > known[0]) & (members < known[-1])]
            frames[lost] = np.interp(lost, known, frames[known])
    return frames


def _bar_positions(
    downbeat: NDArray[np.float64],
    found: NDArray[np.int64],
    broken: NDArray[np.bool_],
    frame_rate_hz: float,
    params: BeatDecoding,
) -> NDArray[np.int64] | None:
    """Return the position of each beat in its bar, shape (beats,), or None when no downbeat is heard."""
    from backbeat.beat.viterbi import best_states

    heard = _at_beats(downbeat, found, round(0.04 * frame_rate_hz))
    if heard.max() < params.presence:
        return None
    # One beat in seven is a downbeat at the least, and the level is to be that of the downbeats.
    level = max(float(np.percentile(heard, 90)), params.presence)
    odds = params.sharpness * (_log_odds(heard) - _log_odds(params.downbeat_threshold * level))
    odds = np.clip(odds, -params.evidence_limit, params.evidence_limit)
    meters = np.repeat(params.meters, params.meters)
    positions = np.concatenate([np.arange(1, meter + 1) for meter in params.meters])
    costs = np.repeat(params.meter_costs, params.meters)
    bar_costs = np.where(meters == 2, params.short_bar_cost, 0.0)
    # A downbeat that is heard where a meter has none counts against it, by half of what it would count for.
    evidence = np.where(positions == 1, odds[:, None] - bar_costs, -0.5 * np.maximum(odds, 0.0)[:, None])
    same = meters[:, None] == meters[None, :]
    onward = same & (positions[None, :] == positions[:, None] + 1)
    barline = (positions[:, None] == meters[:, None]) & (positions[None, :] == 1)
    moves = np.where(onward, 0.0, np.where(barline, np.where(same, 0.0, -params.meter_change_cost - costs), -np.inf))
    # After a cut the bar may stand anywhere, but to go on counting is likeliest.
    anywhere = np.where(same, -0.5 * params.meter_change_cost, -1.5 * params.meter_change_cost)
    states = best_states(-costs, moves, np.maximum(moves, anywhere), broken, evidence)
    chosen: NDArray[np.int64] = positions[states].astype(np.int64)
    return chosen
