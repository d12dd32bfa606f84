"""A trained pairing model at work: from spectrograms to vectors, and how alike a take and a beat are."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from backbeat.errors import ConfigError
from backbeat.files import sha256_file
from backbeat.layers import for_inference
from backbeat.model import WEIGHTS, ModelSpec, load_spec, load_weights, space_of, weights_of
from backbeat.pairing.network import PairingNetwork

#: Windows that go through the network together.
_BATCH = 16
#: Nothing shorter has a rhythm to compare, seconds.
SHORTEST_S = 1.0


@dataclass(frozen=True)
class PairingDecoding:
    """How a recording becomes one vector.

    Parameters
    ----------
    window_s, hop_s
        Length of the windows heard, and their distance; the vector is the mean over them.

    Raises
    ------
    ConfigError
        If a length is not above 0.
    """

    window_s: float = 30.0
    hop_s: float = 15.0

    def __post_init__(self) -> None:
        if not min(self.window_s, self.hop_s) > 0:
            raise ConfigError("window_s and hop_s must be above 0")


class PairingModel:
    """Vectors of takes and beats, whose inner product says how well the two go together.

    Parameters
    ----------
    network
        A trained one; a copy of it is what listens.
    spec
        What was trained, and how it is decoded.
    sha256
        Of the weights, in hexadecimal; taken from the network when left out.
    """

    def __init__(self, network: PairingNetwork, spec: ModelSpec, sha256: str | None = None) -> None:
        self.network = network
        self.spec = spec
        self.decoding = PairingDecoding(**spec.decoding)
        self._quick = for_inference(network)
        digest = sha256 or hashlib.sha256(weights_of(network)).hexdigest()
        #: Where the vectors of its beats belong; those of takes are compared with them and kept nowhere.
        self.space = space_of("pairing", digest)

    @classmethod
    def from_folder(cls, folder: Path) -> PairingModel:
        """Load a model folder; ModelError when it cannot be."""
        spec = load_spec(folder, "pairing")
        network = PairingNetwork(spec.features.mel_bands, spec.features.frame_rate_hz, **spec.network)
        load_weights(folder, network)
        return cls(network, spec, sha256_file(folder / WEIGHTS))

    @property
    def size(self) -> int:
        """Length of the vectors."""
        return self.network.size

    def embed_take(self, log_mel: NDArray[np.floating]) -> NDArray[np.float32]:
        """Map the spectrogram of a take, (frames, mel_bands), to a vector (size,) of length 1."""
        return self._embed(self._quick.take, log_mel)

    def embed_beat(self, log_mel: NDArray[np.floating]) -> NDArray[np.float32]:
        """Map the spectrogram of a beat, (frames, mel_bands), to a vector (size,) of length 1."""
        return self._embed(self._quick.beat, log_mel)

    def _embed(self, tower: nn.Module, log_mel: NDArray[np.floating]) -> NDArray[np.float32]:
        rate_hz = self.spec.features.frame_rate_hz
        frames = log_mel.shape[0]
        shortest = round(SHORTEST_S * rate_hz)
        if frames < shortest:
            log_mel = np.pad(log_mel, ((0, shortest - frames), (0, 0)))
            frames = shortest
        length = min(frames, round(self.decoding.window_s * rate_hz))
        hop = round(self.decoding.hop_s * rate_hz)
        # The last window ends with the recording, so that all are of one length.
        starts = [max(0, min(start, frames - length)) for start in range(0, max(1, frames - length + hop), hop)]
        total = np.zeros(self.size, dtype=np.float64)
        with torch.inference_mode():
            for first in range(0, len(starts), _BATCH):
                windows = np.stack([log_mel[start : start + length] for start in starts[first : first + _BATCH]])
                total += tower(torch.from_numpy(windows.astype(np.float32))).numpy().sum(axis=0)
        return np.asarray(total / max(float(np.linalg.norm(total)), 1e-12), dtype=np.float32)
