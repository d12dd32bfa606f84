"""What a recommender is, which there are, and how one's own joins them.

::

    class Newest:
        def __init__(self, evidence: Evidence) -> None:
            self.order = np.arange(len(evidence.vectors), dtype=np.float32)

        def score(self, history: History) -> NDArray[np.float32]:
            return self.order

    register("newest", Newest)

From then on it is a method as the others are: of `TrackRecommender.recommend` and of `evaluation.evaluate`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from backbeat.errors import ConfigError
from backbeat.listening.history import Events, History

if TYPE_CHECKING:
    from backbeat.listening.factors import Factors
    from backbeat.listening.model import ListeningModel


@dataclass(frozen=True, eq=False)
class Evidence:
    """What a recommender may know, gathered at one moment.

    Parameters
    ----------
    vectors
        How the items sound: embeddings, shape (items, values), all of one space.
    artists
        A number of each item's artist, shape (items,); -1 where none is known (`numbered`).
    added_at
        When each item came out, or came to be known, seconds since 1970; shape (items,).
    events
        What all listeners did so far.
    now
        Seconds since 1970.
    factors
        What was fitted to all that listeners did; None where nothing has been.
    model
        The trained towers and blend; None where there are none.
    """

    vectors: NDArray[np.float32]
    artists: NDArray[np.int64]
    added_at: NDArray[np.float64]
    events: Events
    now: float
    factors: Factors | None = None
    model: ListeningModel | None = None


def numbered(names: Sequence[str] | NDArray[np.str_]) -> NDArray[np.int64]:
    """Return a number for each name, the same for the same; -1 for those that are empty."""
    texts = np.asarray(names, dtype=np.str_)
    numbers: NDArray[np.int64] = np.unique(texts, return_inverse=True)[1].astype(np.int64)
    return np.where(texts == "", -1, numbers)


class Recommender(Protocol):
    """Scores every item for a listener."""

    def score(self, history: History) -> NDArray[np.float32]:
        """Return a score an item, shape (items,), higher for what is likelier wanted; NaN where it cannot tell."""
        ...


Maker = Callable[[Evidence], Recommender]

#: The single recommenders, which the hybrid blends, in the order of its weights.
SINGLE: tuple[str, ...] = ("popularity", "content", "collaborative", "poisson", "deep")
#: Those of them that go by factors.
FITTED: tuple[str, ...] = ("collaborative", "poisson")
_BUILT_IN = {
    "popularity": "popularity.Popularity",
    "content": "content.Content",
    "collaborative": "collaborative.Collaborative",
    "poisson": "poisson.Poisson",
    "deep": "towers.Deep",
    "hybrid": "hybrid.Hybrid",
}
_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")
_own: dict[str, Maker] = {}


def register(name: str, maker: Maker) -> None:
    """Make a recommender of one's own known by name.

    Parameters
    ----------
    name
        Small letters, digits and '_'.
    maker
        A class or function that takes `Evidence` and gives a `Recommender`.

    Raises
    ------
    ConfigError
        If it is no name, or taken.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError(f"recommender {name!r}: a name is small letters, digits and '_', 32 at most")
    if name in (*_BUILT_IN, "auto") or _own.get(name, maker) is not maker:
        raise ConfigError(f"there is a recommender {name!r} already; choose another name")
    _own[name] = maker


def known() -> tuple[str, ...]:
    """Return the names of all recommenders."""
    return (*_BUILT_IN, *_own)


def make(name: str, evidence: Evidence) -> Recommender:
    """Make a recommender of what is known.

    Raises
    ------
    ConfigError
        If there is none of that name.
    ModelError
        If it needs a trained model or factors, and there are none.
    """
    if name in _own:
        return _own[name](evidence)
    if name not in _BUILT_IN:
        raise ConfigError(f"there is no recommender {name!r}; there are {', '.join(known())}")
    module, _, cls = _BUILT_IN[name].partition(".")
    maker: Maker = getattr(import_module(f"backbeat.listening.{module}"), cls)
    return maker(evidence)
