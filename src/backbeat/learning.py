"""What the training of every task has in common: loss for events, optimiser, steps, and windows cut to batches."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from backbeat.augment import Augmentation, augment, stretch_frames
from backbeat.dataset import FeatureStore, LabelledTrack, Window, batches, training_windows, whole_windows
from backbeat.errors import ConfigError
from backbeat.model import ModelSpec

Batch = dict[str, Tensor]


@dataclass(frozen=True)
class Optimisation:
    """How a network is trained.

    Parameters
    ----------
    epochs
        Passes over the training split.
    batch_size
        Windows a step.
    window_s
        Length of a window, seconds.
    learning_rate, weight_decay
        Peak rate of the one-cycle schedule (Smith and Topin, 2018) and decay of AdamW (Loshchilov and Hutter, 2019).
    clip
        Largest norm of the gradient.
    patience
        Epochs without a better validation loss after which training stops; 0 never stops early.

    Raises
    ------
    ConfigError
        If a number makes no sense.
    """

    epochs: int
    batch_size: int
    window_s: float
    learning_rate: float
    weight_decay: float
    clip: float
    patience: int

    def __post_init__(self) -> None:
        if min(self.epochs, self.batch_size) < 1:
            raise ConfigError("epochs and batch_size must be 1 or more")
        if not min(self.window_s, self.learning_rate, self.clip) > 0:
            raise ConfigError("window_s, learning_rate and clip must be above 0")
        if not min(self.weight_decay, self.patience) >= 0:
            raise ConfigError("weight_decay and patience must not be negative")


class TaskModule(pl.LightningModule):
    """A network with its loss; subclasses say what it hears and what it is to answer."""

    network: nn.Module
    #: Names of what the network's outputs stand for.
    classes: tuple[str, ...]
    #: Which of the scores of the validation tracks says how good the model is: what a sweep maximises.
    objective: str

    def __init__(self, optimisation: Optimisation, seed: int) -> None:
        super().__init__()
        self.optimisation = optimisation
        self.seed = seed

    @abstractmethod
    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Give the loss, under "loss", and its parts."""

    def training_step(self, batch: Batch, _: int) -> Tensor:
        """One step of training."""
        losses = self.losses(batch)
        told = {f"train_{name}": value.detach() for name, value in losses.items()}
        self.log_dict(told, batch_size=len(next(iter(batch.values()))), on_epoch=True, on_step=False)
        return losses["loss"]

    def validation_step(self, batch: Batch, _: int) -> None:
        """One step of validation; windows weigh alike."""
        losses = {f"valid_{name}": value for name, value in self.losses(batch).items()}
        self.log_dict(losses, batch_size=len(next(iter(batch.values()))), prog_bar=True)

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Seed dropout by epoch and step, so that a resumed training goes on exactly as it would have."""
        torch.manual_seed((self.seed * 10_007 + self.current_epoch) * 1_000_003 + batch_idx)

    def configure_optimizers(self) -> Any:
        """AdamW with one cycle over all steps; biases and normalisation are not decayed."""
        decayed = [value for value in self.parameters() if value.ndim > 1]
        plain = [value for value in self.parameters() if value.ndim <= 1]
        settings = self.optimisation
        optimiser = torch.optim.AdamW(
            [{"params": decayed, "weight_decay": settings.weight_decay}, {"params": plain, "weight_decay": 0.0}],
            lr=settings.learning_rate,
        )
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimiser,
            max_lr=settings.learning_rate,
            total_steps=max(2, int(self.trainer.estimated_stepping_batches)),
            pct_start=0.2,
        )
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


class WindowTask(TaskModule):
    """A task that hears windows of log-mel spectrograms; subclasses say what is to be heard in them."""

    @abstractmethod
    def targets(
        self, track: LabelledTrack, start_s: float, frames: int, frame_rate_hz: float
    ) -> dict[str, NDArray[np.float32]]:
        """Give a window's targets, arrays of a fixed shape.

        Parameters
        ----------
        track
            The labels.
        start_s
            Where in the track the window begins.
        frames, frame_rate_hz
            Its frames of spectrogram, and how many there are in a second of the track; when time is stretched, the
            rate is stretched with it.
        """

    def data(
        self, store: FeatureStore, tracks: Sequence[LabelledTrack], augmentation: Augmentation, seed: int
    ) -> pl.LightningDataModule:
        """Give what training and validation read: windows of each track with their targets."""
        return WindowData(self, store, tracks, augmentation, seed)

    @abstractmethod
    def settle(
        self, spec: ModelSpec, store: FeatureStore, tracks: Sequence[LabelledTrack]
    ) -> tuple[dict[str, Any], dict[str, float]]:
        """Once the weights are trained, give the decoder's parameters and scores, both from the validation tracks."""

    def exportable(self) -> nn.Module:
        """Give the network in a form that maps one tensor to one tensor."""
        return self.network


def shift_tolerant_loss(logits: Tensor, targets: Tensor, positive_weight: float, tolerance_frames: int) -> Tensor:
    """Binary cross-entropy for events whose frame is only known to within a tolerance.

    Each event is compared with the highest logit within the tolerance of its frame; the frames around it, where a
    peak that was shifted as far as allowed would still spread, count for nothing; all others are to be low. After
    Foscarin, Schlüter and Widmer, "Beat This! Accurate beat tracking without DBN postprocessing", ISMIR 2024, 3.3.

    Parameters
    ----------
    logits, targets
        Shape (..., frames); targets are 0 or 1, or NaN where nothing is known.
    positive_weight
        Weight of an event against a frame without.
    tolerance_frames
        Largest shift; 0 gives the plain loss.

    Returns
    -------
    Tensor
        The mean over all frames that are known, a scalar.
    """
    known = ~torch.isnan(targets)
    events = torch.where(known, targets, torch.zeros_like(targets))
    highest = _window_max(logits, tolerance_frames)
    blurred = _window_max(events, 2 * tolerance_frames)
    counted = (events + (1 - blurred)) * known
    loss = positive_weight * events * F.softplus(-highest) + (1 - events) * F.softplus(highest)
    return (loss * counted).sum() / known.sum().clamp(min=1)


def _window_max(values: Tensor, radius: int) -> Tensor:
    if radius == 0:
        return values
    flat = values.reshape(-1, 1, values.shape[-1])
    return F.max_pool1d(flat, 2 * radius + 1, stride=1, padding=radius).reshape(values.shape)


class _WindowBatches(Dataset):
    """Batches of windows, cut, stretched, labelled and augmented when asked for."""

    def __init__(
        self,
        data: WindowData,
        tracks: Sequence[LabelledTrack],
        windows: Sequence[Window],
        augmentation: Augmentation,
        seed: Sequence[int],
    ) -> None:
        self.data = data
        self.tracks = tracks
        self.batches = list(batches(windows, data.task.optimisation.batch_size))
        self.augmentation = augmentation
        self.seed = list(seed)

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, number: int) -> Batch:
        rng = np.random.default_rng(np.random.SeedSequence([*self.seed, number]))
        items = [self._window(window, rng) for window in self.batches[number]]
        batch = {name: torch.from_numpy(np.stack([item[name] for item in items])) for name in items[0]}
        batch["log_mel"] = augment(batch["log_mel"], self.augmentation, rng)
        return batch

    def _window(self, window: Window, rng: np.random.Generator) -> dict[str, NDArray[np.float32]]:
        track = self.tracks[window.track]
        spectrogram = self.data.store.get(track.corpus, track.id)
        frame_rate_hz = self.data.frame_rate_hz
        # Stretching slows the music: fewer frames of the track fill the window.
        wanted = max(2, round(window.length / self.augmentation.draw_stretch(rng)))
        start = max(0, min(window.start, spectrogram.shape[0] - wanted))
        frames = spectrogram[start : start + wanted]
        if frames.shape[0] < wanted:
            frames = np.pad(frames, ((0, wanted - frames.shape[0]), (0, 0)))
        stretched_rate_hz = frame_rate_hz * window.length / wanted
        targets = self.data.task.targets(track, start / frame_rate_hz, window.length, stretched_rate_hz)
        return {"log_mel": stretch_frames(frames, window.length), **targets}


class WindowData(pl.LightningDataModule):
    """Training and validation windows of one task.

    Training windows are cut elsewhere and augmented otherwise each epoch, from the seed and the epoch's number alone;
    validation windows are always the same. Batches are made in the training process itself: reading from a
    memory-mapped array costs less than passing batches between processes.
    """

    def __init__(
        self,
        task: WindowTask,
        store: FeatureStore,
        tracks: Sequence[LabelledTrack],
        augmentation: Augmentation,
        seed: int,
    ) -> None:
        super().__init__()
        self.task = task
        self.store = store
        self.train_tracks = [track for track in tracks if track.split == "train"]
        self.valid_tracks = [track for track in tracks if track.split == "valid"]
        self.augmentation = augmentation
        self.seed = seed
        self.frame_rate_hz = store.params({track.corpus for track in tracks}).frame_rate_hz
        self.window_frames = round(task.optimisation.window_s * self.frame_rate_hz)

    def _lengths(self, tracks: Sequence[LabelledTrack]) -> list[int]:
        return [self.store.get(track.corpus, track.id).shape[0] for track in tracks]

    def train_dataloader(self) -> DataLoader:
        """Give this epoch's batches."""
        epoch = self.trainer.current_epoch if self.trainer else 0
        rng = np.random.default_rng(np.random.SeedSequence([self.seed, epoch]))
        windows = training_windows(self._lengths(self.train_tracks), self.window_frames, rng)
        dataset = _WindowBatches(self, self.train_tracks, windows, self.augmentation, (self.seed, epoch))
        return DataLoader(dataset, batch_size=None)

    def val_dataloader(self) -> DataLoader:
        """Give the validation batches: every track from its beginning, in whole windows."""
        windows = whole_windows(self._lengths(self.valid_tracks), self.window_frames)
        dataset = _WindowBatches(self, self.valid_tracks, windows, Augmentation(), (self.seed,))
        return DataLoader(dataset, batch_size=None)
