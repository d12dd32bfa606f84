"""The network that hears genre."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from backbeat.genre.timbre import TIMBRE_SIZE
from backbeat.layers import SequenceNetwork


class GenreNetwork(SequenceNetwork):
    """A convolutional network whose sequence is pooled to one embedding a window.

    Pooling is by attention with mean and standard deviation (Okabe, Koshinaka and Shinoda, "Attentive statistics
    pooling for deep speaker embedding", Interspeech 2018).

    Parameters
    ----------
    mel_bands
        Bands of the spectrogram.
    classes
        Number of genres.
    embedding
        Length of the embedding.
    dropout
        Share dropped in training, of the sequence's channels and of the embedding.
    timbre
        Whether the logits are of a whole track: of its mean embedding with `timbre.timbre_statistics` behind it.
    references
        Number of tracks that it remembers, to tell what is like none of them (`head`).
    sequence
        The other parameters of `backbeat.layers.SequenceNetwork`.
    """

    time_stride = 4
    scale: Tensor
    references: Tensor

    def __init__(
        self,
        mel_bands: int,
        classes: int,
        embedding: int = 64,
        dropout: float = 0.1,
        timbre: bool = False,
        references: int = 0,
        **sequence: Any,
    ) -> None:
        super().__init__(mel_bands, dropout=dropout, **sequence)
        self.attention = nn.Conv1d(self.width, self.width, 1)
        self.embedding = nn.Linear(2 * self.width, embedding)
        self.dropout = nn.Dropout(dropout)
        self.timbre = timbre
        measures = embedding + TIMBRE_SIZE
        self.head = nn.Linear(measures if timbre else embedding, classes)
        # How far the measures of music in general lie apart: of embedding and timbre, the inverse standard deviation.
        self.register_buffer("scale", torch.ones(measures))
        self.register_buffer("references", torch.zeros(references, measures))

    def forward(self, log_mel: Tensor) -> tuple[Tensor, Tensor]:
        """Map (batch, frames, mel_bands) to an embedding (batch, embedding) and logits (batch, classes)."""
        embedding = self.embed(log_mel)
        return embedding, self.head(self.dropout(embedding))

    def embed(self, log_mel: Tensor) -> Tensor:
        """Map (batch, frames, mel_bands) to an embedding (batch, embedding)."""
        sequence = self.sequence(log_mel)
        weights = torch.softmax(self.attention(sequence), dim=-1)
        mean = (weights * sequence).sum(-1)
        variance = (weights * sequence.square()).sum(-1) - mean.square()
        statistics = torch.cat([mean, variance.clamp(min=1e-5).sqrt()], dim=-1)
        return F.relu(self.embedding(statistics))
