"""Comparing one measure of traffic with the reference's: a p-value, and how far apart the two are.

Evidently computes both, by methods that are named and never left to its guess. Two things are ours, and registered with
it: the test of names, because Evidently's chi-square takes the shares of the reference for exact, which calls drift too
often, and divides by zero at a name that the reference lacks; and the threshold of the embedding's distance, by
permutation (`embedding_threshold`).
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd

#: The tests by which numbers and names are compared, and the distances that say by how much, as Evidently knows them.
KS, WASSERSTEIN = "ks", "wasserstein"
CHI_SQUARE, JENSEN_SHANNON = "backbeat_chi_square", "jensenshannon"
#: Names that are expected less often than this in either sample are put together (Cochran, Biometrics 10, 1954).
_FEWEST_EXPECTED = 5.0


@dataclass(frozen=True, eq=False)
class Sample:
    """What there is of one measure on both sides, without what is missing.

    Parameters
    ----------
    kind
        "number" or "name".
    now, before
        Shape (values,) each: of traffic, and of the reference; floats or strings.
    """

    kind: str
    now: NDArray[Any]
    before: NDArray[Any]


@dataclass(frozen=True)
class Methods:
    """Of a kind of measure: the names of its test and its distance."""

    test: str
    distance: str


METHODS: dict[str, Methods] = {"number": Methods(KS, WASSERSTEIN), "name": Methods(CHI_SQUARE, JENSEN_SHANNON)}


def compared(samples: Mapping[str, Sample]) -> dict[str, tuple[float, float]]:
    """Return the p-value and the distance of each sample, as Evidently computes them."""
    run = evidently_run(samples)
    values = [found["value"] for found in run.dict()["metrics"]]
    return {name: (float(values[2 * place]), float(values[2 * place + 1])) for place, name in enumerate(samples)}


def evidently_run(samples: Mapping[str, Sample], level: float = 0.0, least: Mapping[str, float] | None = None) -> Any:
    """Run Evidently on samples: for each its test and its distance, in this order.

    Parameters
    ----------
    level
        What p-values are held to in Evidently's own page; judgement is passed by `drift`, over all of them together.
    least
        What distances are held to there, by kind.
    """
    import pandas as pd

    with quiet_evidently():
        from evidently import DataDefinition, Dataset, Report
        from evidently.metrics import ValueDrift

        _register()
        least = least or {"number": 0.0, "name": 0.0}
        metrics = []
        for name, sample in samples.items():
            chosen = METHODS[sample.kind]
            metrics += [
                ValueDrift(column=name, method=chosen.test, threshold=level),
                ValueDrift(column=name, method=chosen.distance, threshold=least[sample.kind]),
            ]
        definition = DataDefinition(
            numerical_columns=[name for name, sample in samples.items() if sample.kind == "number"],
            categorical_columns=[name for name, sample in samples.items() if sample.kind == "name"],
        )
        now, before = (
            Dataset.from_pandas(
                # Of unequal lengths, since each lacks what is missing in it.
                pd.DataFrame({name: pd.Series(getattr(sample, side)) for name, sample in samples.items()}),
                data_definition=definition,
            )
            for side in ("now", "before")
        )
        return Report(metrics).run(now, before)


def direct(samples: Mapping[str, Sample]) -> dict[str, tuple[float, float]]:
    """Return what `compared` does by SciPy alone, many times faster: for simulations. A test holds the two equal."""
    from scipy.spatial.distance import jensenshannon
    from scipy.stats import ks_2samp, wasserstein_distance

    found = {}
    for name, sample in samples.items():
        if sample.kind == "number":
            spread = max(float(np.std(sample.before)), 0.001)
            p = float(ks_2samp(sample.before, sample.now).pvalue)
            found[name] = (p, float(wasserstein_distance(sample.before, sample.now)) / spread)
        else:
            counts = _counts(sample.before, sample.now)
            shares = counts / counts.sum(axis=1, keepdims=True)
            found[name] = (chi_square(sample.before, sample.now), float(jensenshannon(*shares)))
    return found


def chi_square(before: NDArray[Any], now: NDArray[Any]) -> float:
    """Return the p-value that two samples of names come from one source: chi-square of their table of counts.

    Names that are rare in both are one class together; where only one class is left there is nothing to tell apart.
    """
    from scipy.stats import chi2_contingency

    counts = _counts(before, now)
    expected = counts.sum(axis=1).min() * counts.sum(axis=0) / counts.sum()
    rare = expected < _FEWEST_EXPECTED
    classes = counts[:, ~rare]
    if rare.any():
        classes = np.column_stack([classes, counts[:, rare].sum(axis=1)])
    return float(chi2_contingency(classes, correction=False).pvalue) if classes.shape[1] > 1 else 1.0


def missing_differs(missing_now: int, now: int, missing_before: int, before: int) -> tuple[float, float]:
    """Return the p-value (Fisher's exact test) and the distance of two rates at which something is missing."""
    from scipy.stats import fisher_exact

    table = [[missing_now, now - missing_now], [missing_before, before - missing_before]]
    return float(fisher_exact(table).pvalue), abs(missing_now / now - missing_before / before)


@dataclass(frozen=True)
class Distance:
    """How far apart two sets of embeddings are.

    Parameters
    ----------
    score
        Evidently's maximum mean discrepancy, squared and unbiased, with a Gaussian kernel as wide as the median
        distance (Gretton et al., "A kernel two-sample test", JMLR 13, 2012).
    threshold
        What it must be above to be drift.
    p
        Share of permutations of the rows that put the sets as far apart.
    drift
        Evidently's verdict.
    """

    score: float
    threshold: float
    p: float
    drift: bool


def embeddings_compared(
    now: NDArray[np.float32], before: NDArray[np.float32], *, level: float, least: float, permutations: int, seed: int
) -> Distance:
    """Compare embeddings, shape (rows, length) each, by Evidently; its threshold is settled by permutation.

    Parameters
    ----------
    level
        Chance of calling drift where there is none.
    least
        A score below this is never drift, however sure it is.
    permutations
        1 / level of them at least.
    seed
        Of the permutations.
    """
    import pandas as pd

    threshold, p = embedding_threshold(now, before, level=level, permutations=permutations, seed=seed)
    threshold = max(threshold, least)
    with quiet_evidently():
        from evidently.metrics.embeddings import MMDDriftMethod

        method = MMDDriftMethod(threshold=threshold)
        score, drift, _ = method(pd.DataFrame(now), pd.DataFrame(before))
    return Distance(float(score), threshold, p, bool(drift))


def embedding_threshold(
    now: NDArray[np.float32], before: NDArray[np.float32], *, level: float, permutations: int, seed: int
) -> tuple[float, float]:
    """Return the score that rows of one source reach with a chance of `level`, and the chance of what there is.

    The rows of both sides are dealt out anew `permutations` times; all scores are one product of matrices.
    """
    kernel = _kernel(before, now)
    m, n = len(before), len(now)
    random = np.random.default_rng(seed)
    sides = np.zeros((permutations + 1, m + n), dtype=np.float32)
    sides[:, m:] = 1
    for row in sides[1:]:
        random.shuffle(row)
    scores = _scores(kernel, sides, m, n)
    above = int(np.count_nonzero(scores[1:] >= scores[0]))
    ordered = np.sort(scores[1:])[::-1]
    # p <= level exactly where the score is above this one.
    place = max(int(level * (permutations + 1)) - 1, 0)
    return float(ordered[place]), (1 + above) / (1 + permutations)


def _kernel(before: NDArray[np.float32], now: NDArray[np.float32]) -> NDArray[np.float32]:
    from scipy.spatial.distance import cdist, pdist, squareform

    rows = np.concatenate([before, now]).astype(np.float64)
    width = float(np.median(cdist(before, now))) or 1.0
    # A row is no pair with itself: the diagonal stays 0.
    kernel: NDArray[np.float32] = squareform(np.exp(-pdist(rows, "sqeuclidean") / width**2)).astype(np.float32)
    return kernel


def _scores(kernel: NDArray[np.float32], sides: NDArray[np.float32], m: int, n: int) -> NDArray[np.float64]:
    """Return the unbiased squared discrepancy for each way of dealing rows out, shape (ways, rows) of 0 and 1."""
    with_now = sides @ kernel
    now_now = np.einsum("wr,wr->w", with_now, sides, dtype=np.float64)
    now_all = with_now.sum(axis=1, dtype=np.float64)
    crossing = now_all - now_now
    before_before = float(kernel.sum(dtype=np.float64)) - now_now - 2 * crossing
    scores: NDArray[np.float64] = before_before / (m * (m - 1)) + now_now / (n * (n - 1)) - 2 * crossing / (m * n)
    return scores


def _counts(before: NDArray[Any], now: NDArray[Any]) -> NDArray[np.float64]:
    """Return how often each name comes, shape (2, names)."""
    names, places = np.unique(np.concatenate([before, now]).astype(str), return_inverse=True)
    sides = np.repeat([0, 1], [len(before), len(now)])
    counts = np.zeros((2, len(names)))
    np.add.at(counts, (sides, places), 1)
    return counts


@contextmanager
def quiet_evidently() -> Iterator[None]:
    """Silence what Evidently's own code sets off when it is imported and run, and nothing else of ours."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="numpy.core is deprecated", category=DeprecationWarning)
        # Its web interface, which nothing here uses, stands on a later litestar than it was written for.
        warnings.filterwarnings("ignore", message=".*Deprecated in litestar", category=DeprecationWarning)
        # Of a constant column it takes correlations, for pictures.
        warnings.filterwarnings("ignore", message="invalid value encountered in", category=RuntimeWarning)
        yield


@lru_cache(maxsize=1)
def _register() -> None:
    """Make our test of names known to Evidently, by its name."""
    from evidently.legacy.calculations.stattests import register_stattest
    from evidently.legacy.calculations.stattests.registry import StatTest
    from evidently.legacy.core import ColumnType

    def run(before: pd.Series, now: pd.Series, kind: Any, threshold: float) -> tuple[float, bool]:
        p = chi_square(before.to_numpy(), now.to_numpy())
        return p, p <= threshold

    made = StatTest(
        name=CHI_SQUARE, display_name="chi-square of two samples", allowed_feature_types=[ColumnType.Categorical]
    )
    register_stattest(made, run)
