"""What listeners with like histories heard: alternating least squares for implicit feedback, by `implicit`.

Hu, Koren and Volinsky, "Collaborative filtering for implicit feedback datasets", ICDM 2008. Only the items' factors are
kept. A listener's are the solution of a small system of equations, made anew for each request from what he or she did
until that moment (their equation 4), so that nobody waits for the next fit, and nobody's taste lies anywhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from backbeat.errors import ConfigError, ModelError
from backbeat.listening.history import Events, History, fading
from backbeat.listening.recommenders import Evidence


@dataclass(frozen=True)
class AlsSettings:
    """How factors are fitted.

    Parameters
    ----------
    factors
        Length of an item's vector.
    regularisation
        Weight of the factors' squared length.
    alpha
        How much surer a play of weight 1 is than none: their confidence is 1 + alpha times the weight.
    iterations
        Of alternating least squares.
    half_life_days
        After so long an interaction counts half.
    seed
        Of the factors to begin with.

    Raises
    ------
    ConfigError
        If a number makes no sense.
    """

    factors: int = 32
    regularisation: float = 10.0
    alpha: float = 1.0
    iterations: int = 15
    half_life_days: float = 60.0
    seed: int = 1

    def __post_init__(self) -> None:
        if min(self.factors, self.iterations) < 1:
            raise ConfigError("factors and iterations of collaborative filtering must be 1 or more")
        if not min(self.regularisation, self.alpha, self.half_life_days) > 0:
            raise ConfigError("regularisation, alpha and half_life_days must be above 0")


@dataclass(frozen=True, eq=False)
class AlsFactors:
    """The items' factors.

    Parameters
    ----------
    matrix
        Shape (items, factors), float32; rows of NaN for items that nobody had heard.
    settings
        With which they were fitted, and with which listeners are folded in.
    """

    matrix: NDArray[np.float32]
    settings: AlsSettings

    @property
    def known(self) -> NDArray[np.bool_]:
        """Which items have factors, shape (items,)."""
        return np.asarray(~np.isnan(self.matrix[:, 0]))


def fit_als(events: Events, items: int, now: float, settings: AlsSettings) -> AlsFactors:
    """Fit the factors of `items` items to what listeners did; the same events and seed give the same factors."""
    import threadpoolctl
    from implicit.cpu.als import AlternatingLeastSquares
    from scipy.sparse import csr_matrix

    matrix = np.full((items, settings.factors), np.nan, dtype=np.float32)
    heard = np.unique(events.items)
    if not heard.size:
        return AlsFactors(matrix, settings)
    users, rows = np.unique(events.users, return_inverse=True)
    faded = events.weights * fading(events.at, now, settings.half_life_days)
    summed = csr_matrix((faded, (rows, np.searchsorted(heard, events.items))), shape=(users.size, heard.size))
    summed.data = _confidences(summed.data, settings.alpha)
    # `implicit` warns where OpenBLAS would spread over threads inside its own; one thread also fixes the order of sums.
    with threadpoolctl.threadpool_limits(1, "blas"):
        model = AlternatingLeastSquares(
            factors=settings.factors,
            regularization=settings.regularisation,
            iterations=settings.iterations,
            random_state=settings.seed,
            num_threads=1,
        )
        model.fit(summed.astype(np.float32), show_progress=False)
    matrix[heard] = model.item_factors
    return AlsFactors(matrix, settings)


def _confidences(weights: NDArray[np.float64], alpha: float) -> NDArray[np.float64]:
    """Return confidences as `implicit` takes them: the sign says whether an item is wanted, the size how surely."""
    confident: NDArray[np.float64] = np.where(weights > 0, 1.0, -1.0) * (1 + alpha * np.abs(weights))
    return confident


_Equations: TypeAlias = tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]


class Collaborative:
    """Scores by factors.

    Raises
    ------
    ModelError
        If none have been fitted.
    """

    def __init__(self, evidence: Evidence) -> None:
        if evidence.factors is None:
            raise ModelError("no factors for collaborative recommendations; `backbeat maintenance reindex` fits them")
        factors = evidence.factors.als
        self.settings, self.known = factors.settings, factors.known
        # A product runs through the columns in three quarters of the time of the rows.
        self._columns = np.ascontiguousarray(factors.matrix.T)
        self._filled = np.where(self.known[:, None], factors.matrix, 0).astype(np.float32)
        self._gram = self._filled.T.astype(np.float64) @ self._filled
        self._latest: tuple[History, _Equations] | None = None

    def score(self, history: History) -> NDArray[np.float32]:
        """Return the preferences; NaN for items that nobody had heard, and everywhere without a like of known ones."""
        items, confidences, system = self._equations(history)
        if not (confidences > 0).any():
            return np.full(self.known.size, np.nan, dtype=np.float32)
        wanted = np.maximum(confidences, 0) @ self._filled[items]
        return np.asarray(np.linalg.solve(system, wanted).astype(np.float32) @ self._columns)

    def contributions(self, history: History, item: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return how much each item of the history adds to the score of one (Hu, Koren and Volinsky, section 5)."""
        items, confidences, system = self._equations(history)
        towards = np.linalg.solve(system, self._filled[item].astype(np.float64))
        return items, np.maximum(confidences, 0) * (self._filled[items] @ towards)

    def _equations(self, history: History) -> _Equations:
        """Return the known items of a history, their confidences, and the matrix of the listener's equations."""
        # A list is scored and then explained item by item, of one history.
        latest = self._latest
        if latest is None or latest[0] is not history:
            latest = (history, self._set_up(history))
            self._latest = latest
        return latest[1]

    def _set_up(self, history: History) -> _Equations:
        items, strengths = history.strengths(self.settings.half_life_days)
        items, strengths = items[self.known[items]], strengths[self.known[items]]
        confidences = _confidences(strengths, self.settings.alpha)
        own = self._filled[items].astype(np.float64)
        system = self._gram + self.settings.regularisation * np.eye(self.settings.factors)
        return items, confidences, system + own.T @ (own * (np.abs(confidences) - 1)[:, None])
