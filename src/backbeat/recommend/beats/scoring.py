"""From rules and a learned similarity to one score, with weights that were fitted."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backbeat.errors import ModelError
from backbeat.recommend.beats.rules import RULES, RuleFits

#: What the learned similarity is called among the parts of a score.
LEARNED = "learned"
PARTS = (*RULES, LEARNED)
FITTED = Path(__file__).with_name("fitted.json")


@dataclass(frozen=True)
class Weights:
    """What each part of a score weighs, and what a score means.

    Parameters
    ----------
    weights
        Of each of `PARTS`, not negative; the learned one is 0 where no model was there.
    centres
        Mean of each part over beats that do not belong to the take: there it speaks neither for nor against.
    slope, offset
        Of the logistic function from a score to a probability (`backbeat.recommend.beats.confidence`).
    origin
        What they were fitted on.
    """

    weights: Mapping[str, float]
    centres: Mapping[str, float]
    slope: float
    offset: float
    origin: Mapping[str, Any]

    def __post_init__(self) -> None:
        for name, found in (("weights", self.weights), ("centres", self.centres)):
            if set(found) != set(PARTS):
                raise ModelError(f"the {name} of beat selection are not of {', '.join(PARTS)}: fit them anew")

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)

    def parts(self, rules: RuleFits, similarity: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
        """Return what each part adds to the score of each beat, shape (parts, beats).

        Parameters
        ----------
        rules
            Of the beats.
        similarity
            Shape (beats,), of the learned vectors, NaN for beats without one; None without a model.
        """
        return weighed(*evidence(rules, similarity), _column(self.centres)) * _column(self.weights)

    def scores(self, rules: RuleFits, similarity: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
        """Return the sum of `parts` for each beat, shape (beats,)."""
        found: NDArray[np.float32] = _column(self.weights)[:, 0] @ weighed(
            *evidence(rules, similarity), _column(self.centres)
        )
        return found

    def confidence(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the probability that each score means, 0 to 1."""
        from scipy.special import expit

        found: NDArray[np.float64] = expit(self.slope * scores + self.offset)
        return found


def _column(found: Mapping[str, float]) -> NDArray[np.float32]:
    """Return a number of each part, shape (parts, 1)."""
    return np.array([[found[name]] for name in PARTS], np.float32)


def evidence(
    rules: RuleFits, similarity: NDArray[np.float32] | None
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return values and trust of all parts, shape (parts, beats) each."""
    parts = np.zeros((2, len(PARTS), rules.level.size), np.float32)
    parts[0, :-1], parts[1, :-1] = rules.values, rules.trust
    if similarity is not None:
        known = np.isfinite(similarity)
        parts[0, -1], parts[1, -1] = np.where(known, similarity, 0), known
    return parts[0], parts[1]


def weighed(
    values: NDArray[np.float32], trust: NDArray[np.float32], centres: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return how far values, shape (parts, beats), are from their centres, (parts, 1), as far as they are trusted."""
    away: NDArray[np.float32] = values - centres
    away *= trust
    return away


@lru_cache(maxsize=1)
def fitted() -> dict[str, Weights]:
    """Return the weights that ship: "rules" for rules alone, "model" for rules and a pairing model.

    Raises
    ------
    ModelError
        If they are missing or damaged.
    """
    return read_weights(FITTED)


def read_weights(path: Path) -> dict[str, Weights]:
    """Read what `backbeat.recommend.beats.fitting` wrote; ModelError where it is missing or damaged."""
    try:
        return {name: Weights(**values) for name, values in json.loads(path.read_text(encoding="utf-8")).items()}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise ModelError(f"{path}: no weights of beat selection: {error}") from None
