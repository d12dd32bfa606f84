"""Training the onset model: targets, loss, and the thresholds that are settled once the weights are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from backbeat.dataset import FeatureStore, LabelledTrack
from backbeat.features import FeatureParams
from backbeat.learning import Batch, Optimisation, WindowTask, shift_tolerant_loss
from backbeat.model import ModelSpec
from backbeat.music import DRUMS
from backbeat.onset.decode import OnsetDecoding, tune_thresholds
from backbeat.onset.detector import OnsetDetector, split_outputs
from backbeat.onset.network import OnsetNetwork


@dataclass(frozen=True)
class OnsetLoss:
    """Weights of the loss.

    Parameters
    ----------
    onset_weight, drum_weight
        How much an event counts against a frame without.
    velocity
        Weight of the squared error of velocities against the rest.
    tolerance_frames
        How far a peak may lie from its label, in frames (10 ms each by default).
    """

    onset_weight: float
    drum_weight: float
    velocity: float
    tolerance_frames: int


class OnsetTask(WindowTask):
    """Onsets and drums as eleven binary sequences, velocities beside them."""

    network: OnsetNetwork
    classes = ("onset", *DRUMS)
    objective = "mean_f"

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
        self.loss = OnsetLoss(**loss)
        self.network = OnsetNetwork(features.mel_bands, **network)
        self._row = {name: row for row, name in enumerate(self.classes)}

    def targets(
        self, track: LabelledTrack, start_s: float, frames: int, frame_rate_hz: float
    ) -> dict[str, NDArray[np.float32]]:
        """Give "onsets", shape (11, frames), and "velocities", shape (10, frames), NaN away from hits."""
        places = np.rint((np.array(track.values["times_s"]) - start_s) * frame_rate_hz).astype(np.int64)
        onsets = np.zeros((len(self.classes), frames), dtype=np.float32)
        velocities = np.full((len(DRUMS), frames), np.nan, dtype=np.float32)
        first, last = np.searchsorted(places, [0, frames])
        for event in range(first, last):
            place, name = places[event], track.values["classes"][event]
            onsets[0, place] = 1.0
            if name in self._row:
                onsets[self._row[name], place] = 1.0
                velocities[self._row[name] - 1, place] = track.values["velocities"][event]
        return {"onsets": onsets, "velocities": velocities}

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Give the weighted sum of the losses of onsets, drums and velocities, and each."""
        logits, target, velocities = self.network(batch["log_mel"]), batch["onsets"], batch["velocities"]
        rows, tolerance = len(self.classes), self.loss.tolerance_frames
        onset = shift_tolerant_loss(logits[:, 0], target[:, 0], self.loss.onset_weight, tolerance)
        drums = shift_tolerant_loss(logits[:, 1:rows], target[:, 1:], self.loss.drum_weight, tolerance)
        struck = ~torch.isnan(velocities)
        error = (torch.sigmoid(logits[:, rows:]) - torch.nan_to_num(velocities)).square() * struck
        velocity = error.sum() / struck.sum().clamp(min=1)
        total = onset + (rows - 1) * drums + self.loss.velocity * velocity
        return {"loss": total, "onset": onset, "drums": drums, "velocity": velocity}

    def settle(
        self, spec: ModelSpec, store: FeatureStore, tracks: Sequence[LabelledTrack]
    ) -> tuple[dict[str, Any], dict[str, float]]:
        """Choose each class's threshold by validation; give the decoder's parameters, each F and their mean."""
        detector = OnsetDetector(self.network, spec)
        outputs = [
            split_outputs(detector.activations(store.get(track.corpus, track.id).astype(np.float32)))
            for track in tracks
        ]
        references = [track.onsets() for track in tracks]
        decoding, scores = tune_thresholds(references, outputs, detector.frame_rate_hz, OnsetDecoding(**spec.decoding))
        if scores:
            scores = {**scores, "mean_f": float(np.mean(list(scores.values())))}
        return asdict(decoding), scores
