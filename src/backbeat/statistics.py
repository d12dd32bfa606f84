"""How sure a score is: bootstrap confidence intervals over tracks.

The track is the unit drawn, because beats or onsets of one track are not independent of each other. Intervals are
bias-corrected and accelerated (Efron, "Better bootstrap confidence intervals", JASA 82, 1987), which stay honest for
the skewed scores of small test sets, or plain percentiles. Shares of right answers have Wilson's interval.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr, ndtri

from backbeat.errors import ConfigError

if TYPE_CHECKING:
    import pandas as pd

#: What the counts of one measure are called after its name.
COUNTS = ("_tp", "_fp", "_fn")
_CHUNK_VALUES = 4_000_000

#: From drawn rows, shape (..., tracks, columns), to one number for each draw, shape (...).
_Statistic = Callable[[NDArray[np.float64]], NDArray[np.float64]]


@dataclass(frozen=True)
class Interval:
    """An estimate and how far it can be trusted.

    Parameters
    ----------
    value
        The estimate; NaN when there is nothing to estimate from.
    low, high
        The confidence limits; NaN with fewer than two tracks, which say nothing of their spread.
    count
        Tracks that it stands on.
    """

    value: float
    low: float
    high: float
    count: int

    def to_dict(self) -> dict[str, float | int | None]:
        """Return the fields, None for NaN, as JSON wants it."""
        return {name: None if isinstance(x, float) and math.isnan(x) else x for name, x in asdict(self).items()}

    def __str__(self) -> str:
        if math.isnan(self.value):
            return "–"
        return f"{self.value:.3f}" if math.isnan(self.low) else f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def bootstrap_interval(
    values: ArrayLike,
    *,
    statistic: Callable[[NDArray[np.float64]], float] | None = None,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int | np.random.SeedSequence = 0,
    method: str = "bca",
) -> Interval:
    """Return a statistic of one value a track, with its confidence interval.

    Parameters
    ----------
    values
        Shape (tracks,); NaN are left out.
    statistic
        Maps values, shape (tracks,), to a number; the mean when left out (which is quicker).
    confidence
        Share of such intervals that hold the truth, in (0, 1).
    resamples
        Number of draws.
    seed
        Of the draws.
    method
        "bca" or "percentile".

    Raises
    ------
    ConfigError
        If the shape or a setting makes no sense.
    """
    table = np.asarray(values, dtype=np.float64)
    if table.ndim != 1:
        raise ConfigError(f"a bootstrap takes one value a track, not an array of shape {table.shape}")
    rows = table[~np.isnan(table)][:, None]
    chosen = _mean if statistic is None else _by_row(statistic)
    return _interval(rows, chosen, confidence, resamples, seed, method)


def micro_f_interval(
    tp: ArrayLike,
    fp: ArrayLike,
    fn: ArrayLike,
    *,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int | np.random.SeedSequence = 0,
    method: str = "bca",
) -> Interval:
    """Return the F-measure of all tracks together from the counts of each, drawing whole tracks.

    Parameters
    ----------
    tp, fp, fn
        Shape (tracks,) each: true positives, false positives, false negatives. Tracks without any are left out.
    confidence, resamples, seed, method
        As in `bootstrap_interval`.
    """
    table = np.stack([np.asarray(column, dtype=np.float64) for column in (tp, fp, fn)], axis=-1)
    if table.ndim != 2:
        raise ConfigError(f"counts must be one number a track, not arrays of shape {table.shape[:-1]}")
    rows = table[table.sum(axis=1) > 0]  # which NaN is not
    return _interval(rows, _micro_f, confidence, resamples, seed, method)


def proportion_interval(right: ArrayLike, *, confidence: float = 0.95) -> Interval:
    """Return the share of trues with its score interval (Wilson, JASA 22, 1927).

    Unlike a bootstrap's, it has a width when all tracks are alike: three of three are no proof of all.

    Parameters
    ----------
    right
        Shape (tracks,), 0 or 1 (or booleans).
    confidence
        As in `bootstrap_interval`.
    """
    from scipy.stats import binomtest

    if not 0 < confidence < 1:
        raise ConfigError(f"no interval: confidence {confidence}")
    table = np.asarray(right, dtype=bool)
    if table.size == 0:
        return Interval(math.nan, math.nan, math.nan, 0)
    hits = int(table.sum())
    limits = binomtest(hits, table.size).proportion_ci(confidence, method="wilson")
    return Interval(hits / table.size, float(limits.low), float(limits.high), table.size)


def paired_bootstrap(
    a: ArrayLike,
    b: ArrayLike,
    *,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int | np.random.SeedSequence = 0,
    method: str = "bca",
) -> Interval:
    """Return the mean difference a - b over the same tracks; an interval without 0 in it is a difference.

    Parameters
    ----------
    a, b
        Shape (tracks,), the same tracks in the same order; a track with NaN in either is left out.
    confidence, resamples, seed, method
        As in `bootstrap_interval`.
    """
    first, second = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if first.shape != second.shape:
        raise ConfigError(f"a paired comparison needs the same tracks: {first.size} and {second.size}")
    return bootstrap_interval(first - second, confidence=confidence, resamples=resamples, seed=seed, method=method)


def holm(p_values: ArrayLike) -> NDArray[np.float64]:
    """Return p-values, shape (tests,), adjusted for how many they are (Holm, Scand. J. Statistics 6, 1979)."""
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(p.size, 0, -1)), 1.0)
    return adjusted


def summarise(
    per_track: pd.DataFrame,
    by: str | None = None,
    *,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> pd.DataFrame:
    """Give every measure its interval, over all tracks and over each group.

    Parameters
    ----------
    per_track
        A row a track. Numeric columns are measures, averaged without their NaN. Three columns ``X_tp``, ``X_fp``,
        ``X_fn`` become one measure ``X_micro_f``. Other columns are left out.
    by
        The column that groups the tracks (a style); None for no groups.
    confidence, resamples, seed
        As in `bootstrap_interval`. Every measure of every group has draws of its own, made from `seed` and its name.

    Returns
    -------
    Columns ``group`` ("all" first), ``measure``, ``value``, ``low``, ``high``, ``count``; measures in the order of the
    columns, groups sorted.

    Raises
    ------
    ConfigError
        If `by` is not a column.
    """
    import pandas as pd

    if by is not None and by not in per_track.columns:
        raise ConfigError(f"no column {by!r} to group by")
    groups: list[tuple[str, pd.DataFrame]] = [("all", per_track)]
    if by is not None:
        groups += [(str(name), rows) for name, rows in sorted(per_track.groupby(by), key=lambda item: str(item[0]))]
    numeric = per_track.drop(columns=[by] if by else []).select_dtypes(["number", "bool"]).columns
    counted = [
        name.removesuffix("_tp")
        for name in numeric
        if name.endswith("_tp") and all(name.removesuffix("_tp") + suffix in numeric for suffix in COUNTS)
    ]
    used = {stem + suffix for stem in counted for suffix in COUNTS}
    records: list[dict[str, Any]] = []
    for group, rows in groups:
        for name in (*(name for name in numeric if name not in used), *(f"{stem}_micro_f" for stem in counted)):
            label = f"{by if group != 'all' else ''}\0{group}\0{name}"
            draws = np.random.SeedSequence([seed, zlib.crc32(label.encode())])
            if name in numeric:
                interval = bootstrap_interval(
                    rows[name].to_numpy(dtype=np.float64), confidence=confidence, resamples=resamples, seed=draws
                )
            else:
                tp, fp, fn = (rows[name.removesuffix("_micro_f") + suffix].to_numpy() for suffix in COUNTS)
                interval = micro_f_interval(tp, fp, fn, confidence=confidence, resamples=resamples, seed=draws)
            records.append({"group": group, "measure": name, **asdict(interval)})
    return pd.DataFrame.from_records(records, columns=["group", "measure", "value", "low", "high", "count"])


def _mean(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    means: NDArray[np.float64] = rows[..., 0].mean(axis=-1)
    return means


def _micro_f(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    tp, fp, fn = np.moveaxis(rows.sum(axis=-2), -1, 0)
    f: NDArray[np.float64] = 2 * tp / (2 * tp + fp + fn)
    return f


def _by_row(statistic: Callable[[NDArray[np.float64]], float]) -> _Statistic:
    def apply(rows: NDArray[np.float64]) -> NDArray[np.float64]:
        values = rows[..., 0]
        flat = values.reshape(-1, values.shape[-1])
        return np.array([float(statistic(row)) for row in flat]).reshape(values.shape[:-1])

    return apply


def _interval(
    rows: NDArray[np.float64],
    statistic: _Statistic,
    confidence: float,
    resamples: int,
    seed: int | np.random.SeedSequence,
    method: str,
) -> Interval:
    """Bootstrap `statistic` of `rows`, shape (tracks, columns)."""
    if not 0 < confidence < 1 or resamples < 1 or method not in ("bca", "percentile"):
        raise ConfigError(f"no bootstrap: confidence {confidence}, {resamples} resamples, method {method!r}")
    count = len(rows)
    if count == 0:
        return Interval(math.nan, math.nan, math.nan, 0)
    value = float(statistic(rows))
    if count == 1:
        return Interval(value, math.nan, math.nan, 1)
    random = np.random.default_rng(seed)
    chunk = max(1, _CHUNK_VALUES // rows.size)
    drawn = np.concatenate(
        [
            statistic(rows[random.integers(0, count, (min(chunk, resamples - start), count))])
            for start in range(0, resamples, chunk)
        ]
    )
    tails = np.array([(1 - confidence) / 2, (1 + confidence) / 2])
    if method == "bca":
        tails = _bca_tails(tails, drawn, value, _jackknife(rows, statistic))
    low, high = np.quantile(drawn, tails)
    return Interval(value, float(low), float(high), count)


def _jackknife(rows: NDArray[np.float64], statistic: _Statistic) -> NDArray[np.float64]:
    """Return the statistic without each track in turn, shape (tracks,)."""
    count = len(rows)
    kept = np.arange(count - 1)
    chunk = max(1, _CHUNK_VALUES // rows.size)
    parts = []
    for start in range(0, count, chunk):
        out = np.arange(start, min(start + chunk, count))[:, None]
        parts.append(statistic(rows[kept + (kept >= out)]))
    return np.concatenate(parts)


def _bca_tails(
    tails: NDArray[np.float64], drawn: NDArray[np.float64], value: float, left_out: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the quantiles of the draws at which the limits lie (Efron 1987)."""
    # Draws that equal the estimate count half: with few distinct scores there are many.
    equal = np.isclose(drawn, value, rtol=1e-12, atol=1e-12)
    below = (np.count_nonzero((drawn < value) & ~equal) + 0.5 * np.count_nonzero(equal)) / drawn.size
    if not 0 < below < 1:
        return tails
    deviations = left_out.mean() - left_out
    spread = np.sum(deviations**2) ** 1.5
    acceleration = float(np.sum(deviations**3) / (6 * spread)) if spread > 1e-30 else 0.0
    bias = ndtri(below)
    shifted = bias + ndtri(tails)
    corrected: NDArray[np.float64] = ndtr(bias + shifted / (1 - acceleration * shifted))
    return corrected
