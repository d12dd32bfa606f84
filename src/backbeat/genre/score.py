"""How well genres were told apart, and how far the probabilities can be believed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from backbeat.errors import ConfigError, ModelError

#: Bins of the calibration error, equally wide.
CALIBRATION_BINS = 15
_LEAST = 1e-12


@dataclass(frozen=True, eq=False)
class GenreScore:
    """The genre measures of a set of tracks.

    Parameters
    ----------
    accuracy
        Share of tracks whose likeliest genre is the true one.
    macro_f1
        Mean F1 over the genres that occur among the truths or the answers.
    calibration_error
        Expected calibration error over `CALIBRATION_BINS` bins (Guo et al., "On calibration of modern neural networks",
        ICML 2017, section 2).
    brier
        Mean squared distance of the probabilities from the truth, 0..2.
    negative_log_likelihood
        Mean, in nats.
    recalls
        Share found of each genre that occurs.
    confusion
        Shape (classes, classes), tracks; rows are truths, columns answers.
    classes
        The genres, in the order of `confusion`.
    """

    accuracy: float
    macro_f1: float
    calibration_error: float
    brier: float
    negative_log_likelihood: float
    recalls: dict[str, float]
    confusion: NDArray[np.int64]
    classes: tuple[str, ...]

    def to_dict(self) -> dict[str, float]:
        """Return the single numbers, for a table of metrics."""
        numbers = {
            "accuracy": self.accuracy,
            "macro_f1": self.macro_f1,
            "calibration_error": self.calibration_error,
            "brier": self.brier,
            "negative_log_likelihood": self.negative_log_likelihood,
        }
        return numbers | {f"recall_{name}": value for name, value in self.recalls.items()}


def score_track(reference: str, probabilities: ArrayLike, classes: Sequence[str]) -> dict[str, float]:
    """Score one track.

    Parameters
    ----------
    reference
        The true genre.
    probabilities
        Shape (classes,), summing to 1.
    classes
        The genres.

    Returns
    -------
    ``correct`` (0 or 1), ``confidence`` (of the answer), ``brier`` and ``negative_log_likelihood``.

    Raises
    ------
    ConfigError
        If the true genre is none of the classes or shapes do not fit.
    ModelError
        If the probabilities are none.
    """
    truths, table = _checked([reference], np.asarray(probabilities, dtype=np.float64)[None], classes)
    return {
        "correct": float(table[0].argmax() == truths[0]),
        "confidence": float(table[0].max()),
        "brier": float(_brier(truths, table)[0]),
        "negative_log_likelihood": float(-np.log(max(table[0, truths[0]], _LEAST))),
    }


def score_genres(references: Sequence[str], probabilities: ArrayLike, classes: Sequence[str]) -> GenreScore:
    """Score a set of tracks.

    Parameters
    ----------
    references
        The true genre of each track, at least one.
    probabilities
        Shape (tracks, classes), each row summing to 1.
    classes
        The genres, in the order of the columns.

    Raises
    ------
    ConfigError
        If there are no tracks, a true genre is none of the classes, or shapes do not fit.
    ModelError
        If the probabilities are none.
    """
    from sklearn.metrics import confusion_matrix, f1_score

    truths, table = _checked(references, np.asarray(probabilities, dtype=np.float64), classes)
    answers = table.argmax(axis=1)
    indices = np.arange(len(classes))
    confusion: NDArray[np.int64] = confusion_matrix(truths, answers, labels=indices).astype(np.int64)
    occur = np.flatnonzero(confusion.sum(axis=0) + confusion.sum(axis=1))
    totals = confusion.sum(axis=1)
    likelihoods = np.maximum(table[np.arange(truths.size), truths], _LEAST)
    return GenreScore(
        accuracy=float(np.mean(answers == truths)),
        macro_f1=float(f1_score(truths, answers, labels=occur, average="macro", zero_division=0.0)),
        calibration_error=expected_calibration_error(table.max(axis=1), answers == truths),
        brier=float(_brier(truths, table).mean()),
        negative_log_likelihood=float(-np.log(likelihoods).mean()),
        recalls={name: float(confusion[k, k] / totals[k]) for k, name in enumerate(classes) if totals[k]},
        confusion=confusion,
        classes=tuple(classes),
    )


def expected_calibration_error(confidences: ArrayLike, correct: ArrayLike, bins: int = CALIBRATION_BINS) -> float:
    """Return the mean over answers of the gap between confidence and accuracy in the answer's bin.

    Parameters
    ----------
    confidences
        Shape (answers,), in [0, 1].
    correct
        Shape (answers,), whether each answer was right.
    bins
        Number of bins, equally wide, closed above.
    """
    confidence, right = np.asarray(confidences, dtype=np.float64), np.asarray(correct, dtype=np.float64)
    if confidence.size == 0 or confidence.shape != right.shape:
        raise ConfigError(f"{confidence.size} confidences and {right.size} answers make no calibration error")
    bin_of = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    gaps = np.bincount(bin_of, confidence - right, minlength=bins)
    return float(np.abs(gaps).sum() / confidence.size)


def _brier(truths: NDArray[np.int64], table: NDArray[np.float64]) -> NDArray[np.float64]:
    distances: NDArray[np.float64] = np.square(table - np.eye(table.shape[1])[truths]).sum(axis=1)
    return distances


def _checked(
    references: Sequence[str], table: NDArray[np.float64], classes: Sequence[str]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    if not references or table.shape != (len(references), len(classes)):
        raise ConfigError(f"{len(references)} tracks and {len(classes)} genres, probabilities of shape {table.shape}")
    unknown = sorted(set(references) - set(classes))
    if unknown:
        raise ConfigError(f"genre {unknown[0]!r} is not one of {', '.join(classes)}")
    if not np.all((table >= 0) & (table <= 1)) or not np.allclose(table.sum(axis=1), 1.0, atol=1e-3):
        raise ModelError("genre probabilities hold NaN, leave [0, 1] or do not sum to 1")
    places = {name: index for index, name in enumerate(classes)}
    return np.array([places[name] for name in references]), table
