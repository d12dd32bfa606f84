"""Training the two towers, and then the blend of all recommenders on what listeners did next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from backbeat.dataset import LabelledTrack
from backbeat.errors import ConfigError
from backbeat.learning import Batch, Optimisation, TaskModule
from backbeat.listening.data import Listening, ListeningData, gather, read_items
from backbeat.listening.factors import FactorSettings
from backbeat.listening.towers import TwoTowers
from backbeat.model import ModelSpec
from backbeat.settings import read_settings

if TYPE_CHECKING:
    from backbeat.training import TaskSettings


@dataclass(frozen=True)
class ListeningLoss:
    """What the towers learn from.

    Parameters
    ----------
    examples
        So many of each listener in an epoch: who listens ten times as much does not count ten times as much.

    Raises
    ------
    ConfigError
        If there are none.
    """

    examples: int = 20

    def __post_init__(self) -> None:
        if self.examples < 1:
            raise ConfigError("examples must be 1 or more")


class ListeningTask(TaskModule):
    """What a listener takes to next, told from what others of the batch took to.

    Parameters
    ----------
    network
        Keyword arguments of `TwoTowers`.
    factors
        Settings of the factors that are blended with the towers.
    optimisation, seed
        As all tasks have them.
    listening
        The data set.
    """

    network: TwoTowers
    objective = "ndcg_10"
    classes = ("listener", "track")

    def __init__(
        self,
        network: dict[str, Any],
        factors: FactorSettings,
        optimisation: Optimisation,
        listening: Listening,
        seed: int,
    ) -> None:
        super().__init__(optimisation, seed)
        self.listening, self.factors = listening, factors
        self.network = TwoTowers(listening.items.vectors.shape[1], **network)
        self.network.take_spread(torch.from_numpy(listening.items.vectors))
        #: Of the front end of the model that made the embeddings.
        self.features = listening.items.features

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Give the cross-entropy of each example's item among the batch's.

        Items that are often heard are often in a batch as well; what that adds to their standing as wrong answers is
        taken off their logits (Yi et al. 2019, equation 3).
        """
        vectors = self.network(batch["vectors"])
        items = vectors[batch["targets"]]
        listeners = self.network.gather(vectors[batch["histories"]], batch["events"], batch["there"])
        logits = self.network.log_sharpness.exp() * (listeners @ items.T) - batch["log_frequency"]
        logits = logits.masked_fill(batch["spared"], -1e4)
        truth = torch.arange(len(items), device=items.device)
        right = (logits.argmax(1) == truth).float().mean()
        return {"loss": F.cross_entropy(logits, truth), "accuracy": right}

    def exportable(self) -> nn.Module:
        """Give the items' tower."""
        return self.network

    def example(self) -> NDArray[np.float32]:
        """Give two items' embeddings, an input of `exportable`."""
        return np.zeros((2, self.listening.items.vectors.shape[1]), dtype=np.float32)

    def settle(self, spec: ModelSpec, tracks: Sequence[LabelledTrack]) -> tuple[dict[str, Any], dict[str, float]]:
        """Once the towers are trained, fit the blend on the validation period; give decoding and scores of it.

        The scores are of listeners whom the blend that scored them had not learnt from.
        """
        from backbeat.listening.evaluation import fit_and_judge

        del tracks  # they are those of the data set
        told: dict[str, Any] = {
            "space": self.listening.items.space,
            "inputs": self.listening.items.vectors.shape[1],
            "factors": asdict(self.factors),
        }
        blend, metrics = fit_and_judge(self.listening, self.network, spec, told, self.seed)
        return {**told, "blend": blend.to_dict()}, metrics


def prepare(
    settings: TaskSettings, tracks: Sequence[LabelledTrack], folder: Path, seed: int
) -> tuple[ListeningTask, ListeningData]:
    """Make the module and its data of a stage's settings.

    Parameters
    ----------
    settings
        Of the task: `loss` as `ListeningLoss`, `decoding` with `FactorSettings` under ``factors``.
    tracks
        The label lines of all splits.
    folder
        data/listening.
    seed
        Of weights and batches.

    Raises
    ------
    CorpusError
        If the data are missing, damaged or too few.
    ConfigError
        If the settings do not fit the task.
    """
    listening = gather(tracks, read_items(folder))
    loss = read_settings(ListeningLoss, dict(settings.loss))
    unknown: Mapping[str, Any] = {name: one for name, one in settings.decoding.items() if name != "factors"}
    if unknown:
        raise ConfigError(f"decoding of listening has no setting {min(unknown)!r}; it has factors")
    factors = read_settings(FactorSettings, dict(settings.decoding.get("factors", {})))
    try:
        module = ListeningTask(dict(settings.network), factors, settings.optimisation, listening, seed)
    except TypeError as error:
        raise ConfigError(f"the settings of task listening do not fit it: {error}") from error
    batch_size = settings.optimisation.batch_size
    return module, ListeningData(listening, module.network.history, loss.examples, batch_size, seed)
