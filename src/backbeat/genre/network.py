"""The network that hears genre."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from backbeat.layers import SpectralStem, temporal_stack

#: Frames of the spectrogram that become one frame of the sequence.
TIME_STRIDE = 4


class GenreNetwork(nn.Module):
    """A convolutional network whose sequence is pooled to one embedding a window.

    Pooling is by attention with mean and standard deviation (Okabe, Koshinaka and Shinoda, "Attentive statistics
    pooling for deep speaker embedding", Interspeech 2018).

    Parameters
    ----------
    mel_bands
        Bands of the spectrogram.
    classes
        Number of genres.
    channels
        Channels of the stem's convolutions.
    width
        Channels of the temporal blocks.
    layers, kernel
        Number of temporal blocks, whose dilation doubles each time, and taps of their convolutions.
    embedding
        Length of the embedding.
    dropout
        Share dropped in training.
    """

    def __init__(
        self,
        mel_bands: int,
        classes: int,
        channels: Sequence[int] = (12, 24, 32),
        width: int = 64,
        layers: int = 5,
        kernel: int = 3,
        embedding: int = 64,
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        self.stem = SpectralStem(mel_bands, channels, width, TIME_STRIDE, dropout)
        self.temporal = temporal_stack(width, kernel, layers, dropout)
        self.attention = nn.Conv1d(width, width, 1)
        self.embedding = nn.Linear(2 * width, embedding)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(embedding, classes)

    def forward(self, log_mel: Tensor) -> tuple[Tensor, Tensor]:
        """Map (batch, frames, mel_bands) to an embedding (batch, embedding) and logits (batch, classes)."""
        sequence = self.temporal(self.stem(log_mel))
        weights = torch.softmax(self.attention(sequence), dim=-1)
        mean = (weights * sequence).sum(-1)
        variance = (weights * sequence.square()).sum(-1) - mean.square()
        statistics = torch.cat([mean, variance.clamp(min=1e-5).sqrt()], dim=-1)
        embedding = F.relu(self.embedding(statistics))
        return embedding, self.head(self.dropout(embedding))
