"""The network that hears onsets and tells drums apart."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from backbeat.layers import SpectralStem, temporal_stack
from backbeat.music import DRUMS


class OnsetNetwork(nn.Module):
    """A convolutional network at the full frame rate: any onset, each drum, and each drum's velocity.

    Convolutions over time and frequency are what Schlüter and Böck, "Improved musical onset detection with
    convolutional neural networks", ICASSP 2014, found best; velocity is estimated frame by frame beside the activation
    as by Callender, Hawthorne and Engel, "Improving perceptual quality of drum transcription with the Expanded Groove
    MIDI Dataset", 2020.

    Parameters
    ----------
    mel_bands
        Bands of the spectrogram.
    channels
        Channels of the stem's convolutions.
    width
        Channels of the temporal blocks.
    layers, kernel
        Number of temporal blocks, whose dilation doubles each time, and taps of their convolutions.
    dropout
        Share dropped in training.
    """

    def __init__(
        self,
        mel_bands: int,
        channels: Sequence[int] = (12, 24, 32),
        width: int = 48,
        layers: int = 4,
        kernel: int = 3,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.stem = SpectralStem(mel_bands, channels, width, 1, dropout)
        self.temporal = temporal_stack(width, kernel, layers, dropout)
        self.head = nn.Conv1d(width, 1 + 2 * len(DRUMS), 1)

    def forward(self, log_mel: Tensor) -> Tensor:
        """Map (batch, frames, mel_bands) to logits (batch, 21, frames): onset, ten drums, ten velocities."""
        logits: Tensor = self.head(self.temporal(self.stem(log_mel)))
        return logits
