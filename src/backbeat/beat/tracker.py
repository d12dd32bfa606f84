"""A trained beat model at work: from a spectrogram to beats."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import expit

from backbeat.augment import shifted
from backbeat.beat.decode import BeatDecoding, decode_beats
from backbeat.beat.network import BeatNetwork
from backbeat.layers import for_inference, run_network
from backbeat.model import ModelSpec, load_spec, load_weights
from backbeat.music import Beats

#: Mel bands by which the spectrogram is moved up; the network hears it at each, and the mean of the log-odds is taken.
#: Where it is in two minds about a record, the beat's place turns on details that change with pitch
#: (docs/experiments.md).
SHIFTS: tuple[int, ...] = (-2, 2)


class BeatTracker:
    """Beats and downbeats of a track.

    Parameters
    ----------
    network
        A trained one; a copy of it is what listens.
    spec
        What was trained, and how it is decoded.
    """

    def __init__(self, network: BeatNetwork, spec: ModelSpec) -> None:
        self.network = network
        self._quick: Any = for_inference(network)
        self.spec = spec
        self.decoding = BeatDecoding(**spec.decoding)
        self.frame_rate_hz = spec.features.frame_rate_hz / BeatNetwork.time_stride

    @classmethod
    def from_folder(cls, folder: Path) -> BeatTracker:
        """Load a model folder; ModelError when it cannot be."""
        spec = load_spec(folder, "beat")
        network = BeatNetwork(spec.features.mel_bands, **spec.network)
        load_weights(folder, network)
        return cls(network, spec)

    def listen_through(self, wrap: Callable[[Any], Any]) -> None:
        """Put something round the network that listens, to share it between threads say."""
        self._quick = wrap(self._quick)

    def activations(self, log_mel: NDArray[np.floating]) -> NDArray[np.float32]:
        """Map (frames, mel_bands) to probabilities of beat and downbeat, (ceil(frames / 2), 2)."""
        spectrogram = torch.from_numpy(np.asarray(log_mel))
        heard = [run_network(self._quick, shifted(spectrogram, bands).numpy()) for bands in SHIFTS]
        probabilities: NDArray[np.float32] = expit(np.mean(heard, axis=0)).T
        return probabilities

    def track(self, log_mel: NDArray[np.floating]) -> Beats:
        """Map (frames, mel_bands) to beats with positions."""
        return self.decode(self.activations(log_mel))

    def decode(self, activations: NDArray[np.float32]) -> Beats:
        """Map what `activations` gave to beats with positions."""
        return decode_beats(activations[:, 0], activations[:, 1], self.frame_rate_hz, self.decoding)
