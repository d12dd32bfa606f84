"""A model of moods, learnt from labels: valence and arousal by a ridge regression on descriptors and the embedding.

Linear on purpose: corpora with labels of mood have some hundreds of tracks, and on so few a linear model of such
features does nearly as well as larger ones (Aljanaki, Yang and Soleymani, "Developing a benchmark for emotional
analysis of music", PLOS ONE 12(3), 2017).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log2
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from backbeat.analysis.descriptors import Descriptors, Mood
from backbeat.errors import ConfigError, CorpusError, ModelError
from backbeat.features import FeatureParams
from backbeat.model import ModelSpec, load_spec, load_weights, save_model

TASK = "mood"
FEELINGS = ("valence", "arousal")
#: Penalties on standardised features to choose among, relative to the number of tracks.
_PENALTIES = tuple(10.0 ** (power / 2) for power in range(-6, 7))
#: Fewer tracks teach nothing.
FEWEST_TRACKS = 20

_CARD = """# Moods

Valence and arousal, -1 to 1, from descriptors and the genre network's embedding: a ridge regression with a penalty of
{penalty:.3g} on {tracks} labelled tracks. Left out one by one, R2 was {valence:.2f} for valence, {arousal:.2f} for
arousal.
"""


class MoodNetwork(nn.Module):
    """A linear map of standardised features, shape (..., inputs), to valence and arousal, shape (..., 2).

    Features that are not known (NaN) count as the mean of those learnt from.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(inputs))
        self.register_buffer("scale", torch.ones(inputs))
        self.head = nn.Linear(inputs, len(FEELINGS))

    def forward(self, features: Tensor) -> Tensor:
        """Map features to feelings."""
        answer: Tensor = self.head(torch.nan_to_num((features - self.mean) * self.scale, nan=0.0))
        return answer


class MoodModel:
    """A trained model of moods.

    Parameters
    ----------
    network
        A trained one.
    spec
        What was trained; `decoding` holds the space of the embeddings that it was trained on.
    """

    def __init__(self, network: MoodNetwork, spec: ModelSpec) -> None:
        self.network, self.spec = network.eval(), spec

    @classmethod
    def from_folder(cls, folder: Path) -> MoodModel:
        """Load a model folder; ModelError when it cannot be."""
        spec = load_spec(folder, TASK)
        network = MoodNetwork(**spec.network)
        load_weights(folder, network)
        return cls(network, spec)

    def save(self, folder: Path, card: str) -> None:
        """Write a model folder, atomically."""
        save_model(folder, self.network, self.spec, card)

    def check_space(self, space: str) -> None:
        """Raise ModelError unless it was trained on the embeddings of this space."""
        trained_on = self.spec.decoding.get("space")
        if trained_on != space:
            raise ModelError(
                f"the model for moods was trained on embeddings of {trained_on}, not of {space}: fit it again"
            )

    def mood(self, descriptors: Descriptors, embedding: NDArray[np.float32]) -> Mood:
        """Tell the mood; ModelError for another number of features than it was trained on."""
        features = mood_features(descriptors, embedding)
        if features.size != self.network.mean.numel():
            raise ModelError(f"the model for moods takes {self.network.mean.numel()} features, not {features.size}")
        with torch.inference_mode():
            told = self.network(torch.from_numpy(features)).clamp(-1, 1)
        return Mood(round(float(told[0]), 3), round(float(told[1]), 3), "model")


@dataclass(frozen=True, eq=False)
class MoodExample:
    """A track with labels: its descriptors, its embedding of shape (length,), valence and arousal in -1 to 1."""

    descriptors: Descriptors
    embedding: NDArray[np.float32]
    valence: float
    arousal: float

    def __post_init__(self) -> None:
        if not (-1 <= self.valence <= 1 and -1 <= self.arousal <= 1):
            raise ConfigError(f"a mood of {self.valence:g}, {self.arousal:g} is not within -1 to 1")


def mood_features(descriptors: Descriptors, embedding: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the numbers that mood is told by, shape (features,); NaN for those that are not known."""
    told, spectrum, key = descriptors, descriptors.spectrum, descriptors.key
    measures = (
        None if key is None else key.confidence * (1.0 if key.mode == "major" else -1.0),
        None if told.tempo_bpm is None else log2(told.tempo_bpm),
        told.energy,
        told.loudness_lufs,
        told.loudness_range_lu,
        told.pulse_clarity,
        told.swing,
        *(log2(max(pair[0], 1.0)) for pair in (spectrum.centroid_hz, spectrum.bandwidth_hz, spectrum.rolloff_hz)),
        *spectrum.flatness,
        *spectrum.flux,
        *spectrum.contrast_db,
        *spectrum.mfcc_mean,
        *spectrum.mfcc_std,
    )
    known = np.array([np.nan if value is None else value for value in measures], dtype=np.float32)
    return np.concatenate([known, embedding.astype(np.float32)])


def fit_mood(
    examples: Sequence[MoodExample], front_end: FeatureParams, space: str, data_hash: str = ""
) -> tuple[MoodModel, str]:
    """Fit a model to labelled tracks; return it and its card.

    The penalty is the one with the least error of tracks that are left out one by one, which ridge regression gives in
    closed form (Golub, Heath and Wahba, "Generalized cross-validation as a method for choosing a good ridge parameter",
    Technometrics 21, 1979). Nothing is random.

    Parameters
    ----------
    examples
        At least `FEWEST_TRACKS`.
    front_end, space
        Of the genre model whose embeddings they have.
    data_hash
        Of what the labels and the audio were read from.

    Raises
    ------
    CorpusError
        If there are too few tracks.
    """
    if len(examples) < FEWEST_TRACKS:
        raise CorpusError(f"{len(examples)} tracks with labels of mood teach nothing: {FEWEST_TRACKS} are the least")
    features = np.stack([mood_features(one.descriptors, one.embedding) for one in examples]).astype(np.float64)
    labels = np.array([[one.valence, one.arousal] for one in examples])
    mean, scale = _standard(features)
    inputs = np.nan_to_num((features - mean) * scale, nan=0.0)
    penalty, weights, left_out = _ridge(inputs, labels - labels.mean(axis=0))
    spread = np.maximum(labels.var(axis=0), 1e-12)
    scores = 1 - np.mean((labels - labels.mean(axis=0) - left_out) ** 2, axis=0) / spread
    network = MoodNetwork(inputs.shape[1])
    with torch.no_grad():
        network.mean.copy_(torch.from_numpy(mean))
        network.scale.copy_(torch.from_numpy(scale))
        network.head.weight.copy_(torch.from_numpy(weights.T))
        network.head.bias.copy_(torch.from_numpy(labels.mean(axis=0)))
    metrics = {f"{name}_r2": round(float(score), 4) for name, score in zip(FEELINGS, scores, strict=True)}
    spec = ModelSpec(
        task=TASK,
        name="backbeat-mood",
        version="0.1.0",
        network={"inputs": inputs.shape[1]},
        features=front_end,
        classes=FEELINGS,
        decoding={"space": space},
        data_hash=data_hash,
        metrics=metrics,
    )
    card = _CARD.format(penalty=penalty, tracks=len(examples), valence=scores[0], arousal=scores[1])
    return MoodModel(network, spec), card


def _standard(features: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and 1/deviation of what is known of each feature; what is never known, or never varies, is 0."""
    known = np.isfinite(features)
    count = np.maximum(known.sum(axis=0), 1)
    filled = np.where(known, features, 0.0)
    mean = filled.sum(axis=0) / count
    deviation = np.sqrt(np.where(known, (features - mean) ** 2, 0.0).sum(axis=0) / count)
    return mean, np.where(deviation > 1e-9, 1 / np.maximum(deviation, 1e-9), 0.0)


def _ridge(
    inputs: NDArray[np.float64], labels: NDArray[np.float64]
) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
    """Fit centred labels, shape (tracks, outputs), by standardised inputs, shape (tracks, features).

    Returns
    -------
    penalty, weights, left_out
        The best penalty, the weights (features, outputs) by it, and what each track is told without itself
        (tracks, outputs).
    """
    left, values, right = np.linalg.svd(inputs, full_matrices=False)
    projected = left.T @ labels
    best: tuple[float, float, NDArray[np.float64], NDArray[np.float64]] | None = None
    for relative in _PENALTIES:
        penalty = relative * len(inputs)
        shrunk = values**2 / (values**2 + penalty)
        told = left @ (shrunk[:, np.newaxis] * projected)
        # The mean is fitted too, and takes a share of each track.
        leverage = np.minimum((left**2) @ shrunk + 1 / len(inputs), 1 - 1e-9)
        left_out = labels - (labels - told) / (1 - leverage[:, np.newaxis])
        error = float(np.mean((labels - left_out) ** 2))
        if best is None or error < best[0]:
            weights = right.T @ ((values / (values**2 + penalty))[:, np.newaxis] * projected)
            best = error, penalty, weights, left_out
    assert best is not None  # noqa: S101 (there are penalties)
    return best[1:]
