"""The network that hears beats and downbeats."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from backbeat.layers import SpectralStem, temporal_stack

#: Frames of the spectrogram that become one frame of activation.
TIME_STRIDE = 2


class BeatNetwork(nn.Module):
    """A temporal convolutional network for beats and downbeats.

    A spectral stem that halves the frame rate, then dilated residual blocks whose view reaches twenty seconds to
    either side (Davies and Böck, EUSIPCO 2019; Böck and Davies, ISMIR 2020).

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
        width: int = 40,
        layers: int = 8,
        kernel: int = 5,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.stem = SpectralStem(mel_bands, channels, width, TIME_STRIDE, dropout)
        self.temporal = temporal_stack(width, kernel, layers, dropout)
        self.head = nn.Conv1d(width, 2, 1)

    def forward(self, log_mel: Tensor) -> Tensor:
        """Map (batch, frames, mel_bands) to logits (batch, 2, ceil(frames / 2)): beat, downbeat."""
        logits: Tensor = self.head(self.temporal(self.stem(log_mel)))
        return logits
