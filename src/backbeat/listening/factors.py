"""What is fitted to all interactions, and fitted anew as more come in: factors of items, of two kinds."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from backbeat.listening.collaborative import AlsFactors, AlsSettings, fit_als
from backbeat.listening.history import Events
from backbeat.listening.poisson import PoissonSettings, Rates, fit_rates


@dataclass(frozen=True)
class FactorSettings:
    """How factors are fitted.

    Parameters
    ----------
    collaborative, poisson
        Of each kind; the defaults when left out.
    """

    collaborative: AlsSettings = field(default_factory=AlsSettings)
    poisson: PoissonSettings = field(default_factory=PoissonSettings)

    @property
    def width(self) -> int:
        """How many numbers an item has."""
        return self.collaborative.factors + 2 * self.poisson.circles


@dataclass(frozen=True, eq=False)
class Factors:
    """The factors of the collaborative recommender, and the rates of Poisson factorisation."""

    als: AlsFactors
    rates: Rates

    @classmethod
    def of_rows(cls, rows: NDArray[np.float32], settings: FactorSettings) -> Factors:
        """Take them apart again, of rows as `rows` gives them; NaN for items that nobody had heard."""
        als, tracks, artists = np.split(
            rows, np.cumsum([settings.collaborative.factors, settings.poisson.circles]), axis=1
        )
        return cls(AlsFactors(als, settings.collaborative), Rates(tracks, artists, settings.poisson))

    @property
    def rows(self) -> NDArray[np.float32]:
        """All that is known of each item, shape (items, `FactorSettings.width`)."""
        return np.concatenate([self.als.matrix, self.rates.tracks, self.rates.artists], axis=1)


def fit_factors(events: Events, artists: NDArray[np.int64], now: float, settings: FactorSettings) -> Factors:
    """Fit both kinds to what listeners did until `now`.

    Parameters
    ----------
    events
        Of items that are rows of `artists`.
    artists
        A number of each item's artist, -1 where none is known.
    now
        Seconds since 1970.
    settings
        Of both.

    Returns
    -------
    Factors
        The same for the same events and seeds.
    """
    return Factors(
        fit_als(events, artists.size, now, settings.collaborative), fit_rates(events, artists, now, settings.poisson)
    )
