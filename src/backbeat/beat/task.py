"""Training the beat model: targets, loss, and what is settled once the weights are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from backbeat.beat.network import BeatNetwork
from backbeat.beat.score import score_track
from backbeat.beat.tracker import BeatTracker
from backbeat.beat.tune import tune_decoding
from backbeat.dataset import FeatureStore, LabelledTrack
from backbeat.features import FeatureParams
from backbeat.learning import Batch, Optimisation, WindowTask, shift_tolerant_loss
from backbeat.model import ModelSpec


@dataclass(frozen=True)
class BeatLoss:
    """Weights of the loss.

    Parameters
    ----------
    beat_weight, downbeat_weight
        How much an event counts against a frame without.
    tolerance_frames
        How far a peak may lie from its label, in frames of activation (20 ms each by default).
    """

    beat_weight: float
    downbeat_weight: float
    tolerance_frames: int


class BeatTask(WindowTask):
    """Beats and downbeats as two binary sequences."""

    network: BeatNetwork
    classes = ("beat", "downbeat")
    objective = "beat_f"

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
        self.loss = BeatLoss(**loss)
        self.network = BeatNetwork(features.mel_bands, **network)

    def targets(
        self, track: LabelledTrack, start_s: float, frames: int, frame_rate_hz: float
    ) -> dict[str, NDArray[np.float32]]:
        """Give "beats", shape (2, ceil(frames / 2)): 1 at beats and at downbeats; NaN where bars are not known."""
        beats = track.beats()
        count = -(-frames // BeatNetwork.time_stride)
        target = np.zeros((2, count), dtype=np.float32)
        for row, times_s in enumerate((beats.times_s, beats.downbeats_s)):
            places = np.rint((times_s - start_s) * frame_rate_hz / BeatNetwork.time_stride).astype(np.int64)
            target[row, places[(places >= 0) & (places < count)]] = 1.0
        if beats.positions is None:
            target[1] = np.nan
        return {"beats": target}

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Give the sum of both sequences' losses, and each."""
        logits, target = self.network(batch["log_mel"]), batch["beats"]
        tolerance = self.loss.tolerance_frames
        beat = shift_tolerant_loss(logits[:, 0], target[:, 0], self.loss.beat_weight, tolerance)
        downbeat = shift_tolerant_loss(logits[:, 1], target[:, 1], self.loss.downbeat_weight, tolerance)
        return {"loss": beat + downbeat, "beat": beat, "downbeat": downbeat}

    def settle(
        self, spec: ModelSpec, store: FeatureStore, tracks: Sequence[LabelledTrack]
    ) -> tuple[dict[str, Any], dict[str, float]]:
        """Tune the decoder on the validation tracks; give its parameters and the mean scores."""
        tracker = BeatTracker(self.network, spec)
        references = [track.beats() for track in tracks]
        outputs = [tracker.activations(store.get(track.corpus, track.id).astype(np.float32)) for track in tracks]
        tracker.decoding, _ = tune_decoding(references, outputs, tracker.frame_rate_hz, tracker.decoding)
        scores = [score_track(truth, tracker.decode(output)) for truth, output in zip(references, outputs, strict=True)]
        means = {}
        for name in ("beat_f", "cmlt", "amlt", "downbeat_f"):
            values = [score[name] for score in scores if not np.isnan(score[name])]
            if values:
                means[name] = float(np.mean(values))
        return asdict(tracker.decoding), means
