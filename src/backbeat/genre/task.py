"""Training the genre model: targets, loss, and the temperature that is settled once the weights are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp
from torch import Tensor, nn

from backbeat.dataset import FeatureStore, LabelledTrack
from backbeat.errors import CorpusError
from backbeat.features import FeatureParams
from backbeat.genre.classifier import GenreClassifier
from backbeat.genre.network import GenreNetwork
from backbeat.learning import Batch, Optimisation, WindowTask
from backbeat.model import ModelSpec


@dataclass(frozen=True)
class GenreLoss:
    """Weights of the loss.

    Parameters
    ----------
    smoothing
        Share of each target spread over all genres (Szegedy et al., CVPR 2016, section 7).
    """

    smoothing: float


class _Logits(nn.Module):
    """The network with its logits alone."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, log_mel: Tensor) -> Tensor:
        """Map (batch, frames, mel_bands) to logits (batch, classes)."""
        logits: Tensor = self.network(log_mel)[1]
        return logits


class GenreTask(WindowTask):
    """One of the genres that the training split has."""

    network: GenreNetwork
    objective = "accuracy"

    def __init__(
        self,
        network: dict[str, Any],
        loss: dict[str, Any],
        optimisation: Optimisation,
        tracks: Sequence[LabelledTrack],
        features: FeatureParams,
        seed: int,
    ) -> None:
        super().__init__(optimisation, seed)
        self.loss = GenreLoss(**loss)
        self.classes = tuple(sorted({track.genre for track in tracks if track.split == "train"}))
        if len(self.classes) < 2:
            raise CorpusError(f"a genre model needs two genres in the training split, not {len(self.classes)}")
        self._row = {name: row for row, name in enumerate(self.classes)}
        self.network = GenreNetwork(features.mel_bands, len(self.classes), **network)

    def exportable(self) -> nn.Module:
        """Give the network without its embedding."""
        return _Logits(self.network)

    def targets(
        self, track: LabelledTrack, start_s: float, frames: int, frame_rate_hz: float
    ) -> dict[str, NDArray[np.float32]]:
        """Give "genre", shape (classes,): 1 at the track's genre; all 0 for one that training lacks."""
        target = np.zeros(len(self.classes), dtype=np.float32)
        if track.genre in self._row:
            target[self._row[track.genre]] = 1.0
        return {"genre": target}

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Give the cross-entropy and the accuracy."""
        _, logits = self.network(batch["log_mel"])
        target = batch["genre"]
        smooth = (1 - self.loss.smoothing) * target + self.loss.smoothing / target.shape[1]
        right = (logits.argmax(1) == target.argmax(1)).float().mean()
        return {"loss": F.cross_entropy(logits, smooth), "accuracy": right}

    def settle(
        self, spec: ModelSpec, store: FeatureStore, tracks: Sequence[LabelledTrack]
    ) -> tuple[dict[str, Any], dict[str, float]]:
        """Fit the temperature on the validation tracks; give the decoder's parameters and the accuracy.

        How far measures of tracks lie apart is set in the network from the same tracks.
        """
        # A track is heard in windows as long as those of training.
        spec = replace(spec, decoding={"window_s": self.optimisation.window_s, **spec.decoding})
        classifier = GenreClassifier(self.network, spec)
        known = [track for track in tracks if track.genre in self._row]
        if not known:
            return asdict(classifier.decoding), {}
        spectrograms = [store.get(track.corpus, track.id).astype(np.float32) for track in known]
        logits = np.stack([classifier.logits(log_mel)[1] for log_mel in spectrograms])
        spread = np.std([classifier.measures(log_mel) for log_mel in spectrograms], axis=0)
        # What never changes, such as a unit of the network that is silent, says nothing.
        scale = np.where(spread > 1e-6, 1 / np.maximum(spread, 1e-6), 0.0)
        self.network.scale.copy_(torch.from_numpy(scale.astype(np.float32)))
        truth = np.array([self._row[track.genre] for track in known])
        decoding = {**asdict(classifier.decoding), "temperature": fit_temperature(logits, truth)}
        return decoding, {"accuracy": float(np.mean(logits.argmax(1) == truth))}


def fit_temperature(logits: NDArray[np.floating], truth: NDArray[np.integer]) -> float:
    """Find what to divide logits, shape (tracks, classes), by to make the truth most likely; between 0.05 and 20."""

    def surprise(log_temperature: float) -> float:
        scaled = logits / np.exp(log_temperature)
        return float(np.mean(logsumexp(scaled, axis=1) - scaled[np.arange(truth.size), truth]))

    return float(np.exp(minimize_scalar(surprise, bounds=(np.log(0.05), np.log(20)), method="bounded").x))
