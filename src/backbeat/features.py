"""The log-mel front end: the one way in which sound reaches a network, in training and in serving alike."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from backbeat.errors import ConfigError

#: Magnitudes are multiplied by this before log(1 + x), so that quiet sounds stay visible (Foscarin, Schlüter and
#: Widmer, "Beat This!", ISMIR 2024, section 3.1, uses the same form).
LOG_GAIN = 1000.0


@dataclass(frozen=True)
class FeatureParams:
    """What defines the spectrogram; it travels in every model's specification.

    Raises
    ------
    ConfigError
        If the numbers make no spectrogram.
    """

    sample_rate_hz: int = 24000
    window_samples: int = 1024
    hop_samples: int = 240
    mel_bands: int = 96
    low_hz: float = 30.0
    high_hz: float = 11000.0

    def __post_init__(self) -> None:
        if not 0 < self.hop_samples <= self.window_samples:
            raise ConfigError(f"a hop of {self.hop_samples} samples does not fit a window of {self.window_samples}")
        if not 0 <= self.low_hz < self.high_hz <= self.sample_rate_hz / 2:
            raise ConfigError(f"bands from {self.low_hz} to {self.high_hz} Hz do not fit {self.sample_rate_hz} Hz")

    @property
    def frame_rate_hz(self) -> float:
        """Frames a second."""
        return self.sample_rate_hz / self.hop_samples

    def to_dict(self) -> dict[str, float]:
        """Return the parameters as a plain dictionary."""
        return asdict(self)


class LogMel(nn.Module):
    """Turn waveforms to log-mel spectrograms.

    Frame t is centred on sample `t * hop_samples`; a file of n samples has `n // hop_samples + 1` frames. A module
    without weights, so that it exports with the networks and runs where they run.
    """

    def __init__(self, params: FeatureParams) -> None:
        # Here, since a sixth of a second goes by until it is there, and what only reads parameters needs it not.
        import torchaudio

        super().__init__()
        self.params = params
        self.mel = torchaudio.transforms.MelSpectrogram(
            sample_rate=params.sample_rate_hz,
            n_fft=params.window_samples,
            hop_length=params.hop_samples,
            f_min=params.low_hz,
            f_max=params.high_hz,
            n_mels=params.mel_bands,
            power=1.0,
            normalized="frame_length",
            mel_scale="slaney",
            norm=None,
            center=False,
        )

    def forward(self, samples: Tensor) -> Tensor:
        """Map (..., samples) in [-1, 1] to (..., frames, mel_bands)."""
        # Zeros at both ends rather than reflection, so that any length from one sample up is taken.
        half = self.params.window_samples // 2
        padded = torch.nn.functional.pad(samples, (half, half))
        return torch.log1p(LOG_GAIN * self.mel(padded)).transpose(-1, -2)


#: Frames made at a time. Few enough to stay in a processor's cache, which halves the time, and an hour needs no more
#: memory than its own result.
_PIECE_FRAMES = 500


def log_mel(samples: NDArray[np.float32], front_end: LogMel) -> NDArray[np.float32]:
    """Map mono samples, shape (samples,), to a log-mel spectrogram, shape (frames, mel_bands).

    Long audio is worked through in pieces cut half a window wider than what is kept of them, so that no frame sees
    where they were cut.
    """
    params = front_end.params
    frames = samples.size // params.hop_samples + 1
    margin = -(-params.window_samples // 2 // params.hop_samples)
    spectrogram = np.empty((frames, params.mel_bands), dtype=np.float32)
    with torch.inference_mode():
        for first in range(0, frames, _PIECE_FRAMES):
            last, start = min(frames, first + _PIECE_FRAMES), max(0, first - margin)
            piece = samples[start * params.hop_samples : (last + margin) * params.hop_samples]
            # A copy: samples may be mapped from a file that cannot be written.
            made = front_end(torch.from_numpy(np.array(piece)))
            spectrogram[first:last] = made[first - start : last - start].numpy()
    return spectrogram
