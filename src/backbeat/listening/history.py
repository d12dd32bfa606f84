"""What listeners did, as numbers: users and items are rows, so that nothing here holds a name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

DAY_S = 86400.0
_MOST_HALVINGS = 20.0


@dataclass(frozen=True, eq=False)
class Events:
    """Interactions as columns, in the order of time.

    Parameters
    ----------
    users, items
        Rows, int64, shape (events,).
    at
        Seconds since 1970.
    weights
        How much each says for the item, below 0 where it speaks against it (`recommend.interactions`).
    """

    users: NDArray[np.int64]
    items: NDArray[np.int64]
    at: NDArray[np.float64]
    weights: NDArray[np.float32]

    def __len__(self) -> int:
        return int(self.at.size)

    @classmethod
    def of(cls, users: Sequence[int], items: Sequence[int], at: Sequence[float], weights: Sequence[float]) -> Events:
        """Make events of columns in any order; those of one moment stay in theirs."""
        order = np.argsort(np.asarray(at, dtype=np.float64), kind="stable")
        return cls(
            np.asarray(users, dtype=np.int64)[order],
            np.asarray(items, dtype=np.int64)[order],
            np.asarray(at, dtype=np.float64)[order],
            np.asarray(weights, dtype=np.float32)[order],
        )

    def where(self, chosen: NDArray[np.bool_] | NDArray[np.int64] | slice) -> Events:
        """Return some of the events."""
        return Events(self.users[chosen], self.items[chosen], self.at[chosen], self.weights[chosen])

    def before(self, moment: float) -> Events:
        """Return the events before a moment."""
        return self.where(slice(0, int(np.searchsorted(self.at, moment))))

    def by_user(self) -> dict[int, Events]:
        """Return each user's events."""
        order = np.argsort(self.users, kind="stable")
        names, starts = np.unique(self.users[order], return_index=True)
        parts = np.split(order, starts[1:])
        return {int(name): self.where(part) for name, part in zip(names, parts, strict=True)}


@dataclass(frozen=True, eq=False)
class History:
    """What one listener did until now, in the order of time; columns as in `Events`."""

    items: NDArray[np.int64]
    at: NDArray[np.float64]
    weights: NDArray[np.float32]
    now: float

    def __len__(self) -> int:
        return int(self.at.size)

    @classmethod
    def of(cls, events: Events, now: float) -> History:
        """Take the events of one user that lie before `now`."""
        past = events.before(now)
        return cls(past.items, past.at, past.weights, now)

    def strengths(self, half_life_days: float) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return the items, each once and in their order, and their summed weights, halved every so many days."""
        faded = self.weights * fading(self.at, self.now, half_life_days)
        items, places = np.unique(self.items, return_inverse=True)
        return items, np.bincount(places, faded, minlength=items.size).astype(np.float64)


def fading(at: NDArray[np.float64], now: float, half_life_days: float) -> NDArray[np.float64]:
    """Return what is left, 1 to 0, of events at times `at` when half goes every so many days."""
    # What is years ago still is more than nothing, or a history of nothing else would leave nothing to go by.
    halvings = np.minimum((now - np.minimum(at, now)) / (half_life_days * DAY_S), _MOST_HALVINGS)
    faded: NDArray[np.float64] = np.exp2(-halvings)
    return faded
