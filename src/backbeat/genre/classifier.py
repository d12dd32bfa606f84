"""A trained genre model at work: from a spectrogram to a label, probabilities and an embedding."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from backbeat.errors import ConfigError
from backbeat.files import sha256_file
from backbeat.genre.network import GenreNetwork
from backbeat.genre.timbre import TIMBRE_SIZE, timbre_statistics
from backbeat.layers import for_inference
from backbeat.model import WEIGHTS, ModelSpec, load_spec, load_weights, space_of, weights_of

#: Windows that go through the network together.
BATCH = 16

#: A label whose calibrated probability is below this is likelier wrong than right.
UNSURE_BELOW = 0.5

#: A track is as far from those that a model learnt from as from so many of the nearest, in the mean.
NEIGHBOURS = 2


@dataclass(frozen=True, eq=False)
class GenreResult:
    """What a track sounds like.

    Parameters
    ----------
    label
        The most probable genre.
    probabilities
        Of every genre, most probable first; they sum to 1.
    embedding
        A vector of what the network heard, float32; near for tracks that sound alike.
    unfamiliar
        Whether it is unlike all that the model learnt from; only a model of one's own genres tells.
    """

    label: str
    probabilities: dict[str, float]
    embedding: NDArray[np.float32]
    unfamiliar: bool = False

    @property
    def unsure(self) -> bool:
        """Whether the label is likelier wrong than right by its own probability, or of something unfamiliar."""
        return self.unfamiliar or self.probabilities[self.label] < UNSURE_BELOW


@dataclass(frozen=True)
class GenreDecoding:
    """How windows become one answer.

    Parameters
    ----------
    window_s, hop_s
        Length of the windows heard, as in training, and their distance.
    temperature
        What logits are divided by, so that probabilities mean what they say (Guo, Pleiss, Sun and Weinberger, "On
        calibration of modern neural networks", ICML 2017, section 4.2).
    familiar_within
        Distance from the tracks learnt from (`distances`) beyond which a track is unfamiliar; None where none is kept.
    """

    window_s: float
    hop_s: float
    temperature: float = 1.0
    familiar_within: float | None = None


class GenreClassifier:
    """Genre of a track.

    Parameters
    ----------
    network
        A trained one; a copy of it is what listens.
    spec
        What was trained, and how it is decoded.
    sha256
        Of the weights, in hexadecimal; taken from the network when left out.
    """

    def __init__(self, network: GenreNetwork, spec: ModelSpec, sha256: str = "") -> None:
        self.network = network
        self._sha256 = sha256
        self._quick: Any = for_inference(network)
        self.spec = spec
        self.decoding = GenreDecoding(**spec.decoding)

    @classmethod
    def from_folder(cls, folder: Path) -> GenreClassifier:
        """Load a model folder; ModelError when it cannot be."""
        spec = load_spec(folder, "genre")
        network = GenreNetwork(spec.features.mel_bands, len(spec.classes), **spec.network)
        load_weights(folder, network)
        return cls(network, spec, sha256_file(folder / WEIGHTS))

    @property
    def space(self) -> str:
        """Where embeddings can be compared with each other."""
        if not self._sha256:
            self._sha256 = hashlib.sha256(weights_of(self.network)).hexdigest()
        return space_of("genre", self._sha256)

    def listen_through(self, wrap: Callable[[Any], Any]) -> None:
        """Put something round the network that listens, to share it between threads say."""
        self._quick = wrap(self._quick)

    def embed(self, log_mel: NDArray[np.floating]) -> NDArray[np.float32]:
        """Map (frames, mel_bands) to the mean embedding (embedding,) of all windows."""
        with torch.inference_mode():
            batches = [self._quick.embed(torch.from_numpy(batch)).numpy() for batch in self._windows(log_mel)]
        return np.asarray(np.concatenate(batches).mean(axis=0))

    def measures(self, log_mel: NDArray[np.floating]) -> NDArray[np.float32]:
        """Map (frames, mel_bands) to mean embedding and timbre of the track, (embedding + TIMBRE_SIZE,)."""
        return np.concatenate([self.embed(log_mel), timbre_statistics(log_mel)])

    def logits(self, log_mel: NDArray[np.floating]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Map (frames, mel_bands) to the mean embedding (embedding,) and mean logits (classes,) of all windows."""
        with torch.inference_mode():
            answers = [self._quick(torch.from_numpy(batch)) for batch in self._windows(log_mel)]
        embeddings, logits = (np.concatenate([part.numpy() for part in parts]) for parts in zip(*answers, strict=True))
        return embeddings.mean(axis=0), logits.mean(axis=0)

    def _windows(self, log_mel: NDArray[np.floating]) -> Iterator[NDArray[np.float32]]:
        """Cut (frames, mel_bands) to batches of windows, shape (batch, frames, mel_bands)."""
        rate_hz = self.spec.features.frame_rate_hz
        length, hop = round(self.decoding.window_s * rate_hz), round(self.decoding.hop_s * rate_hz)
        frames = log_mel.shape[0]
        # The last window ends with the track, so that each is as long as those of training.
        starts = [max(0, min(start, frames - length)) for start in range(0, max(1, frames - length + hop), hop)]
        for first in range(0, len(starts), BATCH):
            windows = np.stack([log_mel[start : start + length] for start in starts[first : first + BATCH]])
            yield windows.astype(np.float32)

    def features(self, log_mel: NDArray[np.floating]) -> NDArray[np.float32]:
        """Map (frames, mel_bands) to what the genre is told by: the mean embedding, with the timbre where it counts."""
        return self.measures(log_mel) if self._quick.timbre else self.embed(log_mel)

    @property
    def feature_count(self) -> int:
        """Length of `features`."""
        return int(self._quick.head.in_features)

    def classify(self, log_mel: NDArray[np.floating]) -> GenreResult:
        """Map (frames, mel_bands) to label, probabilities and embedding."""
        return self.classify_features(self.features(log_mel))

    def classify_features(self, features: NDArray[np.float32]) -> GenreResult:
        """Map what `features` gave to label, probabilities and embedding; ConfigError for another length."""
        if features.shape != (self.feature_count,):
            raise ConfigError(f"the genre is told by {self.feature_count} numbers, not {features.size}")
        # The head is linear: of the mean over windows it gives the mean of what it would give of each.
        with torch.inference_mode():
            logits = self._quick.head(torch.from_numpy(features)).numpy()
        unfamiliar = False
        if self._quick.timbre and self.decoding.familiar_within is not None:
            known, scale = self._quick.references.numpy(), self._quick.scale.numpy()
            unfamiliar = bool(nearness(distances(features[None], known, scale))[0] > self.decoding.familiar_within)
        embedding = features[:-TIMBRE_SIZE] if self._quick.timbre else features
        scaled = logits.astype(np.float64) / self.decoding.temperature
        shares = np.exp(scaled - scaled.max())
        shares /= shares.sum()
        order = np.argsort(-shares, kind="stable")
        probabilities = {self.spec.classes[index]: float(shares[index]) for index in order}
        return GenreResult(self.spec.classes[order[0]], probabilities, embedding, unfamiliar)


def distances(
    measures: NDArray[np.floating], references: NDArray[np.floating], scale: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Return the Euclidean distances between rows, shape (rows, references), each measure multiplied by its scale."""
    far: NDArray[np.float64] = cdist(measures * scale, references * scale)
    return far


def nearness(far: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean of the `NEIGHBOURS` smallest distances of each row, shape (rows,)."""
    count = min(NEIGHBOURS, far.shape[1])
    nearest: NDArray[np.float64] = np.sort(far, axis=1)[:, :count].mean(axis=1)
    return nearest
