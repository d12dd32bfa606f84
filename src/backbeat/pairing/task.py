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

#: The genre of a song of which none is known, or none that training has.
_NO_GENRE = -100
#: Similarities are multiplied by no more than this (Radford et al., 2021, section 2.5).
_SHARPEST = 100.0


@dataclass(frozen=True)
class PairingLoss:
    """Weights of the loss.

    Parameters
    ----------
    temperature
        What similarities are divided by at first; it is learnt from there.
    genre
        Weight of telling the song's genre by the style of the take and of the beat, where it is known.

    Raises
    ------
    ConfigError
        If the temperature is not above 0, or the weight is below.
    """

    temperature: float
    genre: float

    def __post_init__(self) -> None:
        if not (self.temperature > 0 and self.genre >= 0):
            raise ConfigError("temperature must be above 0, and the weight of the genre not below")


class PairingTask(TaskModule):
    """Takes and beats in one space.

    The loss is the symmetric cross-entropy of who belongs to whom within a batch, at a learnt temperature: van den
    Oord, Li and Vinyals, "Representation learning with contrastive predictive coding" (2018), equation 4, in the form
    of Radford et al., "Learning transferable visual models from natural language supervision" (ICML 2021), figure 3.

    Tempo alone tells most pairs of a batch apart, and what is left teaches style too little. So one linear layer, which
    no model keeps, tells genres by the style of takes and of beats alike: alike in genre is then alike in style.
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
        self.loss = PairingLoss(**loss)
        self.log_scale = nn.Parameter(torch.tensor(-math.log(self.loss.temperature)))
        genres = sorted({track.genre for track in tracks if track.split == "train" and track.genre})
        self._row = {name: row for row, name in enumerate(genres)}
        self.genre = nn.Linear(self.network.take.style.out.out_features, max(1, len(genres)))

    def genre_row(self, track: LabelledTrack) -> int:
        """Return the number of a track's genre, as the loss takes it."""
        return self._row.get(track.genre, _NO_GENRE)

    def data(
        self, store: FeatureStore, tracks: Sequence[LabelledTrack], augmentation: Augmentation, seed: int
    ) -> PairData:
        """Give the training and validation windows."""
        return PairData(self, store, tracks, augmentation, seed)

    def exportable(self) -> nn.Module:
        """Give the network, which maps one tensor to one."""
        return self.network

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Give the loss, the cross-entropies of pairs and genres, and the share of takes that find their beat.

        "take" and "beat" have shape (pairs, frames, mel_bands); row i of one belongs to row i of the other; "genre" has
        shape (pairs,), of `genre_row`.
        """
        network = self.network
        styles = {role: getattr(network, role).style(batch[role]) for role in ROLES}
        takes, beats = (
            getattr(network, role).join(styles[role], getattr(network, role).rhythm(batch[role])) for role in ROLES
        )
        logits = self.log_scale.clamp(max=math.log(_SHARPEST)).exp() * takes @ beats.T
        truth = torch.arange(logits.shape[0], device=logits.device)
        pairs = (F.cross_entropy(logits, truth) + F.cross_entropy(logits.T, truth)) / 2
        found = (logits.argmax(1) == truth).float().mean()
        known = batch["genre"] != _NO_GENRE
        if not (self.loss.genre and known.any()):
            return {"loss": pairs, "pairs": pairs, "found": found}
        told = batch["genre"][known]
        genres = torch.stack([F.cross_entropy(self.genre(styles[role][known]), told) for role in ROLES]).mean()
        return {"loss": pairs + self.loss.genre * genres, "pairs": pairs, "genres": genres, "found": found}

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
