"""What is heard in the circles that a listener's plays come from: Poisson factorisation of tracks and their artists.

Plays are counts, most of them none, whose rate is an inner product of what a listener is drawn to and what each item
draws, none of it below 0: Gopalan, Hofman and Blei, "Scalable recommendation with hierarchical Poisson factorization"
(UAI 2015), section 2. Its likelihood is the Kullback-Leibler divergence of Lee and Seung, "Algorithms for non-negative
matrix factorization" (NIPS 2000), whose multiplicative updates scikit-learn has, so that no priors are needed.

Artists are columns beside the tracks: their plays are many where those of one track are few, and a track that nobody
has heard yet is heard by whoever hears its artist. As with `collaborative`, a listener's side is made anew for each
request.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from backbeat.errors import ConfigError, ModelError
from backbeat.listening.history import Events, History, fading
from backbeat.listening.recommenders import Evidence

# What is added to rates, so that nothing is impossible: for folding in, and, of rates about 1, before the logarithm.
_HARDLY, _FLOOR = 1e-3, 0.04
# A track that is played all day is not worth more than this.
_MOST = 3.0
_FOLDING_STEPS = 30
# So many listeners, and tracks and artists, make a circle: of fewer each track would be a circle by itself.
_A_CIRCLE = 8


@dataclass(frozen=True)
class PoissonSettings:
    """How rates are fitted.

    Parameters
    ----------
    circles
        How many there are at most.
    artists
        What a play counts for its artist, against what it counts for the track.
    share
        How much of its artist's rate each of the artist's tracks has beside its own.
    half_life_days
        After so long a play counts half.
    iterations
        Of multiplicative updates.
    seed
        Of the singular vectors to begin with.

    Raises
    ------
    ConfigError
        If a number makes no sense.
    """

    circles: int = 32
    artists: float = 3.0
    share: float = 0.3
    half_life_days: float = 30.0
    iterations: int = 60
    seed: int = 1

    def __post_init__(self) -> None:
        if min(self.circles, self.iterations) < 1:
            raise ConfigError("circles and iterations of Poisson factorisation must be 1 or more")
        if not (min(self.artists, self.half_life_days) > 0 and self.share >= 0):
            raise ConfigError("artists and half_life_days must be above 0, and share not below")


@dataclass(frozen=True, eq=False)
class Rates:
    """What items draw.

    Parameters
    ----------
    tracks
        Of the items themselves, shape (items, circles), float32; rows of NaN for items that nobody had heard.
    artists
        Of the artist of each, likewise.
    settings
        With which they were fitted, and with which listeners are folded in.
    """

    tracks: NDArray[np.float32]
    artists: NDArray[np.float32]
    settings: PoissonSettings

    @property
    def known(self) -> NDArray[np.bool_]:
        """Which items have rates, shape (items,)."""
        return np.asarray(~np.isnan(self.tracks[:, 0]))


def fit_rates(events: Events, artists: NDArray[np.int64], now: float, settings: PoissonSettings) -> Rates:
    """Fit the rates of items, one for each of `artists` (-1 where none is known), to what listeners took to.

    The same events and seed give the same rates. Circles that there are too few listeners or items for
    stay empty.
    """
    from scipy.sparse import csr_matrix
    from sklearn.decomposition import NMF
    from sklearn.exceptions import ConvergenceWarning

    tracks, byways = (np.full((artists.size, settings.circles), np.nan, dtype=np.float32) for _ in range(2))
    events = events.where(events.weights > 0)
    heard = np.unique(events.items)
    if not heard.size:
        return Rates(tracks, byways, settings)
    users, rows = np.unique(events.users, return_inverse=True)
    counts = _about_one(np.minimum(events.weights, _MOST) * fading(events.at, now, settings.half_life_days))
    # Tracks first, then their artists.
    names, artist = np.unique(artists[heard], return_inverse=True)
    places = np.searchsorted(heard, events.items)
    whose = artist[places]
    named = names[whose] >= 0
    columns = np.concatenate([places, heard.size + whose[named]])
    values = np.concatenate([counts, settings.artists * counts[named]])
    table = csr_matrix(
        (values, (np.concatenate([rows, rows[named]]), columns)), shape=(users.size, heard.size + names.size)
    )
    model = NMF(
        min(settings.circles, max(1, min(table.shape) // _A_CIRCLE)),
        init="nndsvda",
        beta_loss="kullback-leibler",
        solver="mu",
        max_iter=settings.iterations,
        tol=0.0,
        random_state=settings.seed,
    )
    with warnings.catch_warnings():
        # Iterations are given: the last of them bring nothing that a list would show.
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(table)
    found = model.components_.T.astype(np.float32)
    width = found.shape[1]
    for rates in (tracks, byways):
        rates[heard] = 0
    tracks[heard, :width] = found[: heard.size]
    byways[heard, :width] = np.where(names[artist][:, None] >= 0, found[heard.size :][artist], 0)
    return Rates(tracks, byways, settings)


def _about_one(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return counts scaled to a mean of 1: of what was all long ago one tells from another as of what is new."""
    scaled: NDArray[np.float64] = counts / counts.mean()
    return scaled


class Poisson:
    """Scores by the logarithm of the rate at which a listener's circles play a track and its artist.

    Raises
    ------
    ModelError
        If no rates have been fitted.
    """

    def __init__(self, evidence: Evidence) -> None:
        if evidence.factors is None:
            raise ModelError("no rates for Poisson factorisation; `backbeat maintenance reindex` fits them")
        rates = evidence.factors.rates
        self.settings = rates.settings
        heard = rates.known
        # Artists who are not known share the last row, which draws nobody.
        count = int(evidence.artists.max(initial=-1)) + 2
        self._artist = evidence.artists % count
        artists = np.zeros((count, rates.tracks.shape[1]), dtype=np.float32)
        artists[self._artist[heard]] = rates.artists[heard]
        artists[-1] = 0
        self._tracks, self._artists = np.where(heard[:, None], rates.tracks, np.float32(0)), artists
        self._drawn = self._tracks.sum(axis=0, dtype=np.float64) + artists.sum(axis=0, dtype=np.float64)
        share = np.float32(self.settings.share) / np.bincount(self._artist, minlength=count)[self._artist]
        both = self._tracks + share.astype(np.float32)[:, None] * artists[self._artist]
        self._rates = np.ascontiguousarray(both.T)
        #: Items of which something is known, be it by their artist.
        self.known = heard | (both > 0).any(axis=1)

    def score(self, history: History) -> NDArray[np.float32]:
        """Return logarithms of rates against their mean.

        NaN for items of which nothing is known, and everywhere without a like of others.
        """
        drawn = self._fold_in(history)
        if drawn is None:
            return np.full(self.known.size, np.nan, dtype=np.float32)
        rates = drawn @ self._rates
        mean = rates.sum() / np.float32(np.count_nonzero(self.known))
        scores = np.log(rates / mean + np.float32(_FLOOR)) if mean > 0 else np.zeros_like(rates)
        return np.where(self.known, scores, np.float32(np.nan))

    def _fold_in(self, history: History) -> NDArray[np.float32] | None:
        """Return how much a listener is drawn to each circle, shape (circles,); None where nothing tells."""
        items, strengths = history.strengths(self.settings.half_life_days)
        telling = (strengths > 0) & self.known[items]
        if not telling.any():
            return None
        items, counts = items[telling], _about_one(np.minimum(strengths[telling], _MOST))
        artists = self._artist[items]
        named = artists < len(self._artists) - 1
        columns = np.concatenate([self._tracks[items], self._artists[artists[named]]]).astype(np.float64) + _HARDLY
        counts = np.concatenate([counts, self.settings.artists * counts[named]])
        drawn = self._drawn + _HARDLY
        found = np.full(drawn.size, counts.sum() / drawn.sum())
        for _ in range(_FOLDING_STEPS):
            found *= (counts / (columns @ found)) @ columns / drawn
        return found.astype(np.float32)
