"""A trained onset model at work: from a spectrogram to onsets and drum hits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from backbeat.layers import for_inference, run_network
from backbeat.model import ModelSpec, load_spec, load_weights
from backbeat.music import DRUMS, Onsets
from backbeat.onset.decode import OnsetDecoding, decode_onsets
from backbeat.onset.network import OnsetNetwork


class OnsetDetector:
    """Onsets of any kind, and which drums are struck how hard.

    Parameters
    ----------
    network
        A trained one; a copy of it is what listens.
    spec
        What was trained, and how it is decoded.
    """

    def __init__(self, network: OnsetNetwork, spec: ModelSpec) -> None:
        self.network = network
        self._quick: Any = for_inference(network)
        self.spec = spec
        self.decoding = OnsetDecoding(**spec.decoding)
        self.frame_rate_hz = spec.features.frame_rate_hz

    @classmethod
    def from_folder(cls, folder: Path) -> OnsetDetector:
        """Load a model folder; ModelError when it cannot be."""
        spec = load_spec(folder, "onset")
        network = OnsetNetwork(spec.features.mel_bands, **spec.network)
        load_weights(folder, network)
        return cls(network, spec)

    def listen_through(self, wrap: Callable[[Any], Any]) -> None:
        """Put something round the network that listens, to share it between threads say."""
        self._quick = wrap(self._quick)

    def activations(self, log_mel: NDArray[np.floating]) -> NDArray[np.float32]:
        """Map (frames, mel_bands) to (frames, 21): probabilities of onset and each drum, then the drums' velocities."""
        probabilities: NDArray[np.float32] = expit(run_network(self._quick, log_mel)).T
        return probabilities

    def detect(self, log_mel: NDArray[np.floating]) -> tuple[Onsets, Onsets]:
        """Map (frames, mel_bands) to all onsets, with their strength as velocity, and to drum hits."""
        return self.decode(self.activations(log_mel))

    def decode(self, activations: NDArray[np.float32]) -> tuple[Onsets, Onsets]:
        """Map what `activations` gave to all onsets and to drum hits."""
        onset, drums, velocities = split_outputs(activations)
        return decode_onsets(onset, drums, velocities, self.frame_rate_hz, self.decoding)


def split_outputs(
    activations: NDArray[np.float32],
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Split (frames, 21) to onset (frames,), drums (frames, 10) and velocities (frames, 10)."""
    return activations[:, 0], activations[:, 1 : 1 + len(DRUMS)], activations[:, 1 + len(DRUMS) :]
