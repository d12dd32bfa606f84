"""Two towers: one hears a track's embedding, one gathers a listener's history, and they meet in an inner product.

After Yi et al., "Sampling-bias-corrected neural modeling for large corpus item recommendations", RecSys 2019. Neither
tower has an entry for any one track or listener: new tracks work from the start, and nobody's taste is in the weights.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from backbeat.errors import ModelError
from backbeat.listening.history import DAY_S, History

if TYPE_CHECKING:
    from backbeat.listening.recommenders import Evidence

#: What the listener's tower is told of an event beside its item: weight, and the logarithm of its age.
EVENT_VALUES = 2
_CHUNK_ITEMS = 8192


class TwoTowers(nn.Module):
    """A tower for items and one for listeners.

    Parameters
    ----------
    inputs
        Length of the items' embeddings.
    width
        Of the hidden layers.
    outputs
        Length of the vectors that are compared; they have length 1.
    heads
        How many ways of attending to a history.
    history
        The latest so many events of a history are gathered.
    dropout
        Share dropped in training.
    """

    mean: Tensor
    scale: Tensor

    def __init__(
        self,
        inputs: int,
        width: int = 128,
        outputs: int = 32,
        heads: int = 2,
        history: int = 60,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.history = history
        self.register_buffer("mean", torch.zeros(inputs))
        self.register_buffer("scale", torch.ones(inputs))
        self.item = nn.Sequential(nn.Linear(inputs, width), nn.ReLU(), nn.Dropout(dropout), nn.Linear(width, outputs))
        self.attention = nn.Sequential(nn.Linear(outputs + EVENT_VALUES, outputs), nn.Tanh(), nn.Linear(outputs, heads))
        # What was liked and what was skipped are gathered apart.
        self.listener = nn.Sequential(
            nn.Linear(2 * heads * outputs, width), nn.ReLU(), nn.Dropout(dropout), nn.Linear(width, outputs)
        )
        self.log_sharpness = nn.Parameter(torch.tensor(2.0))

    @torch.no_grad()
    def take_spread(self, vectors: Tensor) -> None:
        """Centre and scale embeddings as these, shape (items, inputs), need it."""
        self.mean.copy_(vectors.mean(0))
        spread = vectors.std(0, unbiased=False)
        self.scale.copy_(torch.where(spread > 1e-6, 1 / spread.clamp(min=1e-6), torch.zeros_like(spread)))

    def forward(self, vectors: Tensor) -> Tensor:
        """Map embeddings (..., inputs) to items' vectors (..., outputs)."""
        return F.normalize(self.item((vectors - self.mean) * self.scale), dim=-1)

    def gather(self, heard: Tensor, events: Tensor, there: Tensor) -> Tensor:
        """Map histories to listeners' vectors.

        Parameters
        ----------
        heard
            The items' vectors, shape (listeners, events, outputs).
        events
            Weights and logarithms of ages, shape (listeners, events, `EVENT_VALUES`).
        there
            Where there is an event, shape (listeners, events).

        Returns
        -------
        Tensor
            Shape (listeners, outputs).
        """
        attention = self.attention(torch.cat([heard, events], dim=-1))
        pools = []
        for side in (events[..., 0] > 0, events[..., 0] <= 0):
            inside = (side & there)[..., None]
            # Softmax over nothing is NaN: what is not there gets a weight of 0 in the end.
            weights = torch.softmax(attention.masked_fill(~inside, -1e4), dim=1) * inside
            pools.append((weights.transpose(1, 2) @ heard).flatten(1))
        return F.normalize(self.listener(torch.cat(pools, dim=1)), dim=-1)


def event_values(history: History, most: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return items and values of the latest events, shapes (events,) and (events, `EVENT_VALUES`)."""
    latest = slice(max(0, len(history) - most), None)
    ages_days = np.maximum(history.now - history.at[latest], 0) / DAY_S
    return history.items[latest], np.stack([history.weights[latest], np.log1p(ages_days)], axis=1).astype(np.float32)


def item_vectors(network: TwoTowers, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Map embeddings (items, inputs) to items' vectors (items, outputs)."""
    chunks = range(0, max(1, len(vectors)), _CHUNK_ITEMS)
    with torch.inference_mode():
        parts = [network(torch.from_numpy(vectors[first : first + _CHUNK_ITEMS])).numpy() for first in chunks]
    return np.concatenate(parts)


def listener_vector(network: TwoTowers, vectors: NDArray[np.float32], history: History) -> NDArray[np.float32]:
    """Map a history over items with vectors (items, outputs) to the listener's vector (outputs,)."""
    items, values = event_values(history, network.history)
    with torch.inference_mode():
        heard, there = torch.from_numpy(vectors[items])[None], torch.ones((1, items.size), dtype=torch.bool)
        return np.asarray(network.gather(heard, torch.from_numpy(values)[None], there)[0].numpy())


class Deep:
    """Scores by the two towers of a trained model.

    Raises
    ------
    ModelError
        If there is none, or the items' embeddings are not of the length that it knows.
    """

    def __init__(self, evidence: Evidence) -> None:
        if evidence.model is None:
            raise ModelError("no listening model: `dvc repro` trains one to models/listening; name its folder")
        self.network = evidence.model.network
        if evidence.vectors.shape[1] != self.network.mean.numel():
            raise ModelError(
                f"the listening model hears embeddings of {self.network.mean.numel()} values, not of"
                f" {evidence.vectors.shape[1]}; train it on those of this catalogue (`dvc repro`)"
            )
        self.items = item_vectors(self.network, evidence.vectors)

    def score(self, history: History) -> NDArray[np.float32]:
        """Return the inner products; NaN without a like."""
        if not (history.weights > 0).any():
            return np.full(len(self.items), np.nan, dtype=np.float32)
        return np.asarray(self.items @ listener_vector(self.network, self.items, history))
