"""Training the pairing model: each take is to find its beat among those of the batch, and each beat its take."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from backbeat.augment import Augmentation
from backbeat.dataset import FeatureStore, LabelledTrack
from backbeat.errors import ConfigError
from backbeat.features import FeatureParams
from backbeat.learning import Batch, Optimisation, TaskModule
from backbeat.model import ModelSpec
from backbeat.pairing.data import PairData
from backbeat.pairing.model import PairingModel
from backbeat.pairing.network import ROLES, PairingNetwork
from backbeat.pairing.score import partners, score_track

#: Similarities are multiplied by no more than this (Radford et al., 2021, section 2.5).
_SHARPEST = 100.0


@dataclass(frozen=True)
class PairingLoss:
    """Weights of the loss.

    Parameters
    ----------
    temperature
        What similarities are divided by at first; it is learnt from there.

    Raises
    ------
    ConfigError
        If it is not above 0.
    """

    temperature: float

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise ConfigError("temperature must be above 0")


class PairingTask(TaskModule):
    """Takes and beats in one space.

    The loss is the symmetric cross-entropy of who belongs to whom within a batch, at a learnt temperature: van den
    Oord, Li and Vinyals, "Representation learning with contrastive predictive coding" (2018), equation 4, in the form
    of Radford et al., "Learning transferable visual models from natural language supervision" (ICML 2021), figure 3.
    """

    network: PairingNetwork
    classes = ROLES
    objective = "recall_5"

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
        self.network = PairingNetwork(features.mel_bands, features.frame_rate_hz, **network)
        self.log_scale = nn.Parameter(torch.tensor(-math.log(PairingLoss(**loss).temperature)))

    def data(
        self, store: FeatureStore, tracks: Sequence[LabelledTrack], augmentation: Augmentation, seed: int
    ) -> PairData:
        """Give the training and validation windows."""
        return PairData(self, store, tracks, augmentation, seed)

    def exportable(self) -> nn.Module:
        """Give the network, which maps one tensor to one."""
        return self.network

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Give the cross-entropy, and the share of takes whose beat is the likeliest of the batch.

        "take" and "beat" have shape (pairs, frames, mel_bands); row i of one belongs to row i of the other.
        """
        takes, beats = self.network.take(batch["take"]), self.network.beat(batch["beat"])
        logits = self.log_scale.clamp(max=math.log(_SHARPEST)).exp() * takes @ beats.T
        truth = torch.arange(logits.shape[0], device=logits.device)
        loss = (F.cross_entropy(logits, truth) + F.cross_entropy(logits.T, truth)) / 2
        return {"loss": loss, "found": (logits.argmax(1) == truth).float().mean()}

    def settle(
        self, spec: ModelSpec, store: FeatureStore, tracks: Sequence[LabelledTrack]
    ) -> tuple[dict[str, Any], dict[str, float]]:
        """Give the decoder's parameters, as they are, and how well the validation tracks find their beats."""
        model = PairingModel(self.network, spec)
        rows = []
        for track, truth in zip(tracks, partners(tracks, store), strict=True):
            rows.append(score_track(truth, model, store.get(track.corpus, track.id).astype(np.float32)))
        names = {"recall_1": "found_1", "recall_5": "found_5", "mrr": "reciprocal_rank"}
        return dict(spec.decoding), {
            name: float(np.mean([row[measure] for row in rows])) for name, measure in names.items() if rows
        }
