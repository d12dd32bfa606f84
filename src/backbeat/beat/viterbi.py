"""The two dynamic programmes of the beat decoder, compiled by numba and kept in its cache between processes."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray


@njit(cache=True, nogil=True)
def _spread(
    scores: NDArray[np.float64], step_cost: float, spread: NDArray[np.float64], source: NDArray[np.int16]
) -> None:
    """Set `spread[i]` to max over j of `scores[j] - step_cost * |i - j|`, and `source[i]` to that j, in linear time."""
    count = scores.size
    spread[0] = scores[0]
    source[0] = 0
    for i in range(1, count):
        carried = spread[i - 1] - step_cost
        if scores[i] >= carried:
            spread[i] = scores[i]
            source[i] = i
        else:
            spread[i] = carried
            source[i] = source[i - 1]
    for i in range(count - 2, -1, -1):
        carried = spread[i + 1] - step_cost
        if carried > spread[i]:
            spread[i] = carried
            source[i] = source[i + 1]


@njit(cache=True, nogil=True)
def best_beats(
    evidence: NDArray[np.float64],
    periods_frames: NDArray[np.float64],
    deviations_frames: NDArray[np.float64],
    tempo_step_cost: float,
    jump_cost: float,
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Find the best sequence of beats through a stretch of frames.

    Maximises the sum over beats of evidence, less the cost of each interval's deviation from the period
    (Gaussian), less the cost of each change of period (Laplacian on its logarithm), less `jump_cost` for each interval
    that keeps to no period at all. The first beat lies within the longest period of the start, the last within it of
    the end, and there is no gap longer than the longest interval.

    Parameters
    ----------
    evidence
        Shape (frames,), what a beat at this frame adds to the score; at least one frame.
    periods_frames
        Shape (periods,), increasing, in equal steps of the logarithm.
    deviations_frames
        Shape (periods,), standard deviation of an interval about each period.
    tempo_step_cost
        Cost of going from one period to its neighbour in the list.
    jump_cost
        Cost of an interval of any allowed length after which any period may follow.

    Returns
    -------
    The frames of the beats, shape (beats,), increasing; and for each whether a jump led to it, shape (beats,).
    """
    frames = evidence.size
    periods = periods_frames.size
    shortest = np.empty(periods, np.int64)
    longest = np.empty(periods, np.int64)
    reach = 1
    for i in range(periods):
        slack = 2.5 * deviations_frames[i]
        shortest[i] = max(1, int(np.ceil(periods_frames[i] - slack)))
        longest[i] = max(shortest[i], int(np.floor(periods_frames[i] + slack)))
        reach = max(reach, longest[i])
    interval_costs = np.zeros((periods, reach + 1))
    for i in range(periods):
        for interval in range(shortest[i], longest[i] + 1):
            interval_costs[i, interval] = 0.5 * ((interval - periods_frames[i]) / deviations_frames[i]) ** 2
    jump_from = max(1, int(np.floor(periods_frames[0])))
    jump_to = max(jump_from, int(np.ceil(periods_frames[periods - 1])))
    reach = max(reach, jump_to)

    ring = reach + 1
    spreads = np.full((ring, periods), -np.inf)  # what the frames within reach hand on to each period
    bests = np.full(ring, -np.inf)
    best_periods = np.zeros(frames, np.int16)
    sources = np.zeros((frames, periods), np.int16)
    intervals = np.zeros((frames, periods), np.int16)  # to the beat before; 0 at the first beat, negative for a jump
    scores = np.empty(periods)
    end_frame, end_period, end_score = 0, 0, -np.inf
    for t in range(frames):
        jump_score, jump_interval = -np.inf, 0
        for interval in range(jump_from, min(jump_to, t) + 1):
            candidate = bests[(t - interval) % ring]
            if candidate > jump_score:
                jump_score, jump_interval = candidate, interval
        jump_score -= jump_cost
        for i in range(periods):
            if t <= jump_to:
                best, chosen = 0.0, 0
            else:
                best, chosen = -np.inf, 0
            for interval in range(shortest[i], min(longest[i], t) + 1):
                candidate = spreads[(t - interval) % ring, i] - interval_costs[i, interval]
                if candidate > best:
                    best, chosen = candidate, interval
            if jump_score > best:
                best, chosen = jump_score, -jump_interval
            scores[i] = best + evidence[t]
            intervals[t, i] = chosen
        slot = t % ring
        _spread(scores, tempo_step_cost, spreads[slot], sources[t])
        top = int(np.argmax(scores))
        best_periods[t] = top
        bests[slot] = scores[top]
        if t >= frames - jump_to and scores[top] > end_score:
            end_frame, end_period, end_score = t, top, scores[top]

    beats = np.empty(frames, np.int64)
    jumped = np.zeros(frames, np.bool_)
    count = 0
    t, i = end_frame, end_period
    while True:
        beats[count] = t
        interval = intervals[t, i]
        jumped[count] = interval < 0
        count += 1
        if interval == 0:
            break
        t -= abs(interval)
        i = best_periods[t] if interval < 0 else sources[t, i]
    return beats[:count][::-1].copy(), jumped[:count][::-1].copy()


@njit(cache=True, nogil=True)
def best_states(
    initial: NDArray[np.float64],
    transitions: NDArray[np.float64],
    broken_transitions: NDArray[np.float64],
    broken: NDArray[np.bool_],
    evidence: NDArray[np.float64],
) -> NDArray[np.int64]:
    """Find the most probable sequence of states (Viterbi).

    Parameters
    ----------
    initial
        Shape (states,), log probabilities of the first state.
    transitions, broken_transitions
        Shape (states, states), log probabilities from row to column; the second holds where `broken`.
    broken
        Shape (steps,), whether the thread was cut between the step before and this one.
    evidence
        Shape (steps, states), log likelihoods.

    Returns
    -------
    Shape (steps,), states.
    """
    steps, states = evidence.shape
    came_from = np.zeros((steps, states), np.int64)
    scores = initial + evidence[0]
    for k in range(1, steps):
        moves = broken_transitions if broken[k] else transitions
        following = np.empty(states)
        for state in range(states):
            best, chosen = -np.inf, 0
            for before in range(states):
                candidate = scores[before] + moves[before, state]
                if candidate > best:
                    best, chosen = candidate, before
            following[state] = best + evidence[k, state]
            came_from[k, state] = chosen
        scores = following
    path = np.empty(steps, np.int64)
    path[steps - 1] = np.argmax(scores)
    for k in range(steps - 1, 0, -1):
        path[k - 1] = came_from[k, path[k]]
    return path
