"""Windows of takes and of the beats that belong to them, in batches of which each song is in once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from backbeat.augment import Augmentation, augment, stretch_frames
from backbeat.dataset import FeatureStore, LabelledTrack
from backbeat.learning import Batch

if TYPE_CHECKING:
    from backbeat.pairing.task import PairingTask


def by_parts(tracks: Sequence[LabelledTrack]) -> dict[str, list[LabelledTrack]]:
    """Sort pairs by what their beats are made of, in alphabetical order: only such can be taken for each other."""
    names = sorted({str(track.values["parts"]) for track in tracks})
    return {name: [track for track in tracks if track.values["parts"] == name] for name in names}


def pair_batches(
    tracks: Sequence[LabelledTrack], size: int, rng: np.random.Generator | None
) -> list[list[LabelledTrack]]:
    """Divide pairs to batches of at most `size`, evenly, of one kind of parts each; shuffled where `rng` is given."""
    made: list[list[LabelledTrack]] = []
    for alike in by_parts(tracks).values():
        order = rng.permutation(len(alike)) if rng else np.arange(len(alike))
        # Evenly: of a lone pair there would be nothing to learn.
        parted = np.array_split(order, -(-len(alike) // size))
        made += [[alike[int(number)] for number in chosen] for chosen in parted]
    return [made[int(number)] for number in rng.permutation(len(made))] if rng else made


class _PairBatches(Dataset):
    """Batches of windows, cut, stretched and augmented when asked for."""

    def __init__(
        self,
        data: PairData,
        chosen: list[list[LabelledTrack]],
        augmentation: Augmentation,
        seed: Sequence[int],
        anywhere: bool,
    ) -> None:
        self.data, self.chosen, self.augmentation, self.anywhere = data, chosen, augmentation, anywhere
        self.seed = list(seed)

    def __len__(self) -> int:
        return len(self.chosen)

    def __getitem__(self, number: int) -> Batch:
        rng = np.random.default_rng(np.random.SeedSequence([*self.seed, number]))
        takes, beats = [], []
        for track in self.chosen[number]:
            # Both by the same factor, so that they still belong together, at a tempo that no song had.
            stretch = self.augmentation.draw_stretch(rng)
            takes.append(self._window(track.corpus, track.id, stretch, rng))
            beats.append(self._window(track.corpus, str(track.values["beat"]), stretch, rng))
        genres = torch.tensor([self.data.task.genre_row(track) for track in self.chosen[number]])
        return {"take": self._varied(takes, rng), "beat": self._varied(beats, rng), "genre": genres}

    def _window(self, corpus: str, name: str, stretch: float, rng: np.random.Generator) -> NDArray[np.float32]:
        spectrogram, length = self.data.store.get(corpus, name), self.data.window_frames
        wanted = max(2, round(length / stretch))
        slack = max(0, spectrogram.shape[0] - wanted)
        start = int(rng.integers(slack + 1)) if self.anywhere else 0
        frames = spectrogram[start : start + wanted]
        if frames.shape[0] < wanted:
            frames = np.pad(frames, ((0, wanted - frames.shape[0]), (0, 0)))
        return stretch_frames(frames, length)

    def _varied(self, windows: list[NDArray[np.float32]], rng: np.random.Generator) -> Tensor:
        return augment(torch.from_numpy(np.stack(windows)), self.augmentation, rng)


class PairData(pl.LightningDataModule):
    """Training and validation windows of pairs.

    Each epoch has every pair once, with windows cut elsewhere and varied otherwise, from the seed and the epoch's
    number alone; validation windows are always the same.
    """

    def __init__(
        self,
        task: PairingTask,
        store: FeatureStore,
        tracks: Sequence[LabelledTrack],
        augmentation: Augmentation,
        seed: int,
    ) -> None:
        super().__init__()
        self.task, self.store, self.augmentation, self.seed = task, store, augmentation, seed
        self.train_tracks = [track for track in tracks if track.split == "train"]
        self.valid_tracks = [track for track in tracks if track.split == "valid"]
        self.frame_rate_hz = store.params({track.corpus for track in tracks}).frame_rate_hz
        self.window_frames = round(task.optimisation.window_s * self.frame_rate_hz)

    def train_dataloader(self) -> DataLoader:
        """Give this epoch's batches."""
        epoch = self.trainer.current_epoch if self.trainer else 0
        rng = np.random.default_rng(np.random.SeedSequence([self.seed, epoch]))
        chosen = pair_batches(self.train_tracks, self.task.optimisation.batch_size, rng)
        return DataLoader(_PairBatches(self, chosen, self.augmentation, (self.seed, epoch), True), batch_size=None)

    def val_dataloader(self) -> DataLoader:
        """Give the validation batches: the beginning of every track."""
        chosen = pair_batches(self.valid_tracks, self.task.optimisation.batch_size, None)
        return DataLoader(_PairBatches(self, chosen, Augmentation(), (self.seed,), False), batch_size=None)
