"""What is left of an hour's rows: of each measure how many there were, their mean and quantiles, or their names.

Summaries of parts of an hour are put together without the rows.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Which quantiles a summary has, the least and the greatest value among them.
QUANTILES = (0.0, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 1.0)
#: Names of a measure beyond so many are counted together, as "…".
_MOST_NAMES = 100
_OTHERS = "…"


@dataclass(frozen=True, eq=False)
class Summary:
    """A measure over an hour's rows.

    Parameters
    ----------
    rows
        All of the hour.
    numbers
        How many of them had a number.
    mean
        Of the numbers.
    quantiles
        Of the numbers, at `QUANTILES`, linear between values; shape (11,), NaN without numbers.
    names
        How often each name, or true and false, came.
    """

    rows: int
    numbers: int
    mean: float
    quantiles: NDArray[np.float64]
    names: Counter[str]

    @property
    def count(self) -> int:
        """How many rows had the measure."""
        return self.numbers + self.names.total()

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON has it: "rows", "missing", then "numbers", "mean", "quantiles", or "names", or both."""
        told: dict[str, Any] = {"rows": self.rows, "missing": self.rows - self.count}
        if self.numbers:
            quantiles = dict(zip((f"{q:g}" for q in QUANTILES), self.quantiles.tolist(), strict=True))
            told |= {"numbers": self.numbers, "mean": self.mean, "quantiles": quantiles}
        if self.names:
            told["names"] = dict(self.names.most_common())
        return told

    @classmethod
    def read(cls, count: int, told: Mapping[str, Any]) -> Summary:
        """Undo `to_dict`."""
        names = Counter(told.get("names", {}))
        quantiles = told.get("quantiles") or dict.fromkeys(range(len(QUANTILES)), np.nan)
        return cls(
            rows=told["rows"],
            numbers=count - names.total(),
            mean=told.get("mean", np.nan),
            quantiles=np.array(list(quantiles.values()), dtype=np.float64),
            names=names,
        )


def summarise(rows: Sequence[Mapping[str, Any]]) -> dict[str, Summary]:
    """Return the summary of each measure that any row has; what is None, NaN or infinite is missing."""
    numbers: dict[str, list[float]] = {}
    names: dict[str, Counter[str]] = {}
    for row in rows:
        for name, value in row.items():
            if isinstance(value, bool | str):
                names.setdefault(name, Counter())[str(value).lower() if isinstance(value, bool) else value] += 1
            elif value is not None and math.isfinite(value):
                numbers.setdefault(name, []).append(value)
    return {
        name: _summary(len(rows), np.array(numbers.get(name, []), dtype=np.float64), names.get(name, Counter()))
        for name in sorted(numbers.keys() | names.keys())
    }


def _summary(rows: int, values: NDArray[np.float64], names: Counter[str]) -> Summary:
    some = values.size > 0
    quantiles = np.quantile(values, QUANTILES) if some else np.full(len(QUANTILES), np.nan)
    return Summary(rows, values.size, float(values.mean()) if some else np.nan, quantiles, _bounded(names))


def _bounded(names: Counter[str]) -> Counter[str]:
    kept = Counter(dict(names.most_common(_MOST_NAMES)))
    if others := names.total() - kept.total():
        kept[_OTHERS] += others
    return kept


def merge(one: Mapping[str, Summary], other: Mapping[str, Summary]) -> dict[str, Summary]:
    """Return the summaries of two parts of an hour together; all is exact but the inner quantiles.

    Those are the quantiles of the mixture of the two distributions, each taken as linear between its own.
    """
    if not one or not other:
        return dict(one or other)
    rows = [max(part.rows for part in parts.values()) for parts in (one, other)]
    return {
        name: _merged([parts.get(name) for parts in (one, other)], sum(rows))
        for name in sorted(one.keys() | other.keys())
    }


def _merged(parts: Sequence[Summary | None], rows: int) -> Summary:
    there = [part for part in parts if part is not None]
    names = _bounded(sum((part.names for part in there), Counter()))
    counted = [part for part in there if part.numbers]
    if not counted:
        return Summary(rows, 0, np.nan, np.full(len(QUANTILES), np.nan), names)
    weights = np.array([part.numbers for part in counted], dtype=np.float64)
    weights /= weights.sum()
    mean = float(sum(weight * part.mean for weight, part in zip(weights, counted, strict=True)))
    quantiles = counted[0].quantiles if len(counted) == 1 else _mixed(counted, weights)
    return Summary(rows, sum(part.numbers for part in counted), mean, quantiles, names)


def _mixed(parts: Sequence[Summary], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    values = np.unique(np.concatenate([part.quantiles for part in parts]))
    shares = sum(weight * _share_up_to(values, part.quantiles) for weight, part in zip(weights, parts, strict=True))
    quantiles: NDArray[np.float64] = np.interp(QUANTILES, shares, values)
    quantiles[[0, -1]] = values[[0, -1]]
    return quantiles


def _share_up_to(values: NDArray[np.float64], quantiles: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the cumulative distribution at values; of quantiles that are the same, the greatest counts."""
    steps, last = np.unique(quantiles[::-1], return_index=True)
    share: NDArray[np.float64] = np.interp(values, steps, np.array(QUANTILES)[::-1][last], left=0.0, right=1.0)
    return share
