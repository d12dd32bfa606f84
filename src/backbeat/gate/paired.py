"""How much two models differ over the same tracks, with limits that hold their level.

Scores of music models differ by nothing on most tracks, by little on some and by half the scale on a few, where an
octave was taken for another. On such numbers the plain bootstrap promises more than it keeps. The limit here is the
widest of three: Student's; the bootstrap-t (Efron and Tibshirani, "An introduction to the bootstrap", 1993, section
12.5), which sees that rare falls make a mean look better than it is; and Hartigan's subsample values ("Using subsample
values as typical values", JASA 64, 1969), the exact inverse of the sign-flip test, for few tracks and ties. It is asked
for at `NOMINAL` of the level stated; benchmarks/gate.py measures what comes of that.

Tracks that share a source are drawn together: what is drawn are sums and sizes of sources.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

#: Part of the stated level at which limits are computed: the rest is kept for what ties and skewness cost.
NOMINAL = 0.75
_CHUNK_VALUES = 4_000_000
_TINY = 1e-12


@dataclass(frozen=True, eq=False)
class Differences:
    """Differences of scores, gathered by source.

    Parameters
    ----------
    sums, sizes
        Shape (sources,): summed difference and number of tracks of each source.
    """

    sums: NDArray[np.float64]
    sizes: NDArray[np.float64]

    @property
    def mean(self) -> float:
        """Mean over tracks; NaN without any."""
        return float(self.sums.sum() / self.sizes.sum()) if self.sizes.size else math.nan

    @property
    def sources(self) -> int:
        """How many there are."""
        return int(self.sizes.size)

    @property
    def tracks(self) -> int:
        """How many there are."""
        return int(self.sizes.sum())

    @property
    def standard_error(self) -> float:
        """Of the mean, from the spread between sources."""
        return float(_errors(self.sums[None], self.sizes[None])[0])


def gather(values: NDArray[np.float64], sources: Sequence[str]) -> Differences:
    """Gather one difference a track, shape (tracks,), by the tracks' sources."""
    names, places = np.unique(np.asarray(sources, dtype=object).astype(str), return_inverse=True)
    sums = np.bincount(places, values, minlength=names.size).astype(np.float64)
    return Differences(sums, np.bincount(places, minlength=names.size).astype(np.float64))


def limits(found: Differences, level: float, resamples: int, seed: int) -> tuple[float, float]:
    """Return a lower and an upper limit of the mean difference; each is wrong with a chance of at most `level`.

    Parameters
    ----------
    found
        Of at least two sources; the limits are infinite for fewer.
    level
        As stated, one-sided.
    resamples, seed
        Of the draws.
    """
    low = lower_limits(found.sums[None], found.sizes[None], level, resamples, seed)[0]
    high = -lower_limits(-found.sums[None], found.sizes[None], level, resamples, seed)[0]
    return float(low), float(high)


def lower_limits(
    sums: NDArray[np.float64], sizes: NDArray[np.float64], level: float, resamples: int, seed: int
) -> NDArray[np.float64]:
    """Return the lower limit of the mean difference of each of several comparisons.

    Parameters
    ----------
    sums, sizes
        Shape (comparisons, sources), as in `Differences`.
    level, resamples, seed
        As in `limits`; all comparisons share the draws.

    Returns
    -------
    Shape (comparisons,).
    """
    count = sums.shape[1]
    if count < 2:
        return np.full(sums.shape[0], -np.inf)
    nominal = NOMINAL * level
    means, errors = sums.sum(axis=1) / sizes.sum(axis=1), _errors(sums, sizes)
    studentised, halves = _draws(sums, sizes, means, resamples, np.random.default_rng(seed))
    by_student = means - student.ppf(1 - nominal, count - 1) * errors
    place = min(math.ceil((1 - nominal) * (len(studentised) + 1)), len(studentised)) - 1
    quantiles = np.partition(studentised, place, axis=0)[place]
    # Where all tracks differ by the same there is nothing to studentise by.
    by_bootstrap = means - np.where(errors > _TINY, quantiles, 0.0) * np.where(errors > _TINY, errors, 0.0)
    place = math.floor(nominal * (len(halves) + 1)) - 1
    by_halves = np.partition(halves, place, axis=0)[place] if place >= 0 else np.full_like(means, -np.inf)
    lowest: NDArray[np.float64] = np.minimum(np.minimum(by_student, by_bootstrap), by_halves)
    return lowest


def fall_probability(found: Differences) -> float:
    """Return how probable so low a mean difference is where there is none: Student's t over sources, one-sided."""
    error = found.standard_error
    if found.sources < 2 or math.isnan(found.mean):
        return 1.0
    if error <= _TINY:
        return 0.0 if found.mean < -_TINY else 1.0
    return float(student.cdf(found.mean / error, found.sources - 1))


def student_limits(found: Differences, level: float) -> tuple[float, float]:
    """Return Student's limits of the mean difference, each wrong with a chance of `level`; infinite for one source."""
    if found.sources < 2:
        return -math.inf, math.inf
    reach = float(student.ppf(1 - level, found.sources - 1)) * found.standard_error
    return found.mean - reach, found.mean + reach


def _errors(sums: NDArray[np.float64], sizes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the standard error of each mean, shape (comparisons,), from sources, shape (comparisons, sources)."""
    count, totals = sums.shape[1], sizes.sum(axis=1)
    spread = sums - sizes * (sums.sum(axis=1) / totals)[:, None]
    errors: NDArray[np.float64] = np.sqrt(count / max(1, count - 1) * np.square(spread).sum(axis=1)) / totals
    return errors


def _draws(
    sums: NDArray[np.float64],
    sizes: NDArray[np.float64],
    means: NDArray[np.float64],
    resamples: int,
    random: np.random.Generator,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Draw studentised bootstrap means and means of random subsets, each of shape (draws, comparisons)."""
    count = sums.shape[1]
    products = (sums, sizes, np.square(sums), sums * sizes, np.square(sizes))
    chunk = max(1, _CHUNK_VALUES // count)
    studentised, halves = [], []
    for start in range(0, resamples, chunk):
        size = min(chunk, resamples - start)
        weights = random.multinomial(count, np.full(count, 1 / count), size=size).astype(np.float64)
        total, tracks, squares, crossed, lengths = (weights @ product.T for product in products)
        drawn = total / tracks
        spread = np.maximum(squares - 2 * drawn * crossed + np.square(drawn) * lengths, 0)
        errors = np.sqrt(count / (count - 1) * spread) / tracks
        away = drawn - means
        away[np.abs(away) <= _TINY] = 0
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = np.where(errors > 1e-9, away / errors, np.where(away == 0, 0.0, np.copysign(np.inf, away)))
        studentised.append(ratio)
        chosen = random.integers(0, 2, (size, count)).astype(np.float64)
        chosen = chosen[chosen.any(axis=1)]
        halves.append((chosen @ sums.T) / (chosen @ sizes.T))
    return np.concatenate(studentised), np.concatenate(halves)
