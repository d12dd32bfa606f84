"""Training separation networks: songs made up of stems, masks that must bring each instrument back."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from backbeat.dataset import LabelledTrack, Window, batches, training_windows, whole_windows
from backbeat.errors import ConfigError
from backbeat.learning import Batch, Optimisation, TaskModule
from backbeat.separation.network import SeparatorNetwork, SeparatorParams
from backbeat.separation.stems import Instruments, StemStore

# Points of a random tone curve, evenly spread over the bins' logarithm.
_TONE_POINTS = 6
_NORM_MOMENTUM = 0.05


@dataclass(frozen=True)
class Remix:
    """How training songs are made up; zero switches a kind off.

    Parameters
    ----------
    mix
        Share of windows whose instruments come from different tracks and places (Uhlich et al., "Improving music
        source separation based on deep neural networks through data augmentation and network blending", ICASSP 2017,
        section 3).
    gain_db
        Largest change of each instrument's level either way.
    speed
        Largest change of each instrument's speed, and so its pitch, as a factor above 1.
    tone_db
        Standard deviation of a smooth random curve over frequency, for each instrument.
    swap
        Share of windows whose left and right are exchanged.

    Raises
    ------
    ConfigError
        If a number makes no sense.
    """

    mix: float = 0.0
    gain_db: float = 0.0
    speed: float = 1.0
    tone_db: float = 0.0
    swap: float = 0.0

    def __post_init__(self) -> None:
        if not (0 <= self.mix <= 1 and 0 <= self.swap <= 1):
            raise ConfigError("mix and swap are shares, 0 to 1")
        if not (min(self.gain_db, self.tone_db) >= 0 and 1 <= self.speed <= 2):
            raise ConfigError("gain_db and tone_db must not be negative, and speed is a factor of 1 to 2")


@dataclass(frozen=True)
class SeparationSettings:
    """What is trained.

    Parameters
    ----------
    name
        "separation".
    instruments
        What to tell apart, as `Instruments.parse` reads it.
    network
        Keyword arguments of `SeparatorParams`, without those that `instruments` and the window decide.
    optimisation
        How it is trained; the network hears `window_s` at once, to the nearest 64 frames.
    augmentation
        How training songs are made up.
    start_from
        What training goes on from: an MLflow run or a model folder; empty for new weights.
    """

    name: str
    instruments: tuple[str, ...]
    network: dict[str, Any]
    optimisation: Optimisation
    augmentation: Remix
    start_from: str = ""

    def params(self) -> SeparatorParams:
        """Return what the network is to be; ConfigError when the settings make none."""
        told = dict(self.network)
        try:
            step_s = told["frame_step"] / told["sample_rate_hz"]
            frames = 64 * max(1, round(self.optimisation.window_s / step_s / 64))
            return SeparatorParams(tuple(Instruments.parse(self.instruments).members), segment_frames=frames, **told)
        except (KeyError, TypeError) as error:
            raise ConfigError(f"the settings of the separation network do not fit it: {error}") from error


class SeparationTask(TaskModule):
    """Masks for each instrument, learnt from what they leave of the mixture.

    The loss is the mean distance, in the complex plane, of each masked spectrum from the instrument's own. Spleeter's
    is the difference of magnitudes; but stems are heard with the mixture's phase, and where that is wrong a magnitude
    that is right makes it worse (Erdogan et al., "Phase-sensitive and recognition-boosted speech separation using deep
    recurrent neural networks", ICASSP 2015, section 3).
    """

    network: SeparatorNetwork
    objective = "sdr_gain"

    def __init__(self, settings: SeparationSettings, seed: int) -> None:
        super().__init__(settings.optimisation, seed)
        self.params = settings.params()
        self.instruments = Instruments.parse(settings.instruments)
        self.classes = self.params.instruments
        self.network = SeparatorNetwork(self.params)
        for part in self.network.modules():
            if isinstance(part, nn.BatchNorm2d):
                # Keras's statistics, a hundredth new each step, would still be those of the first steps after hundreds.
                part.momentum = _NORM_MOMENTUM
        self.register_buffer("window", torch.hann_window(self.params.frame_length), persistent=False)

    @property
    def window_samples(self) -> int:
        """Samples of which the network hears all frames of a segment."""
        params = self.params
        return (params.segment_frames - 1) * params.frame_step + params.frame_length

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Give the loss, relative to the mixture's magnitude, and that of each instrument.

        "stems" has shape (windows, instruments, 2, samples), "tone" (windows, instruments, bins) where it is there.
        """
        params = self.params
        frames = batch["stems"].unfold(-1, params.frame_length, params.frame_step)
        spectra = torch.fft.rfft(frames * self.window)[..., : params.bins]
        if "tone" in batch:
            spectra = spectra * batch["tone"][:, :, None, None, :]
        spectra = spectra.transpose(0, 1)
        mixture = spectra.sum(dim=0)
        magnitudes = mixture.abs()
        # By parts, so that something can be added under the root: its gradient is infinite where nothing is wrong.
        error = self.network(magnitudes)[..., None] * torch.view_as_real(mixture) - torch.view_as_real(spectra)
        distance = error.square().sum(dim=-1).add(1e-12).sqrt().flatten(1).mean(dim=1)
        relative = distance / magnitudes.mean().clamp(min=1e-6)
        return {"loss": relative.mean(), **dict(zip(self.classes, relative, strict=True))}


class BatchFirst(nn.Module):
    """A separation network whose masks have the batch first, (batch, instruments, 2, frames, bins)."""

    def __init__(self, network: SeparatorNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, magnitudes: Tensor) -> Tensor:
        """Map (batch, 2, frames, bins) to masks."""
        masks: Tensor = self.network(magnitudes).transpose(0, 1)
        return masks


class _SegmentBatches(Dataset):
    """Batches of windows, cut and made up when asked for."""

    def __init__(
        self, data: SegmentData, tracks: Sequence[LabelledTrack], windows: Sequence[Window], how: Remix, seed: list[int]
    ) -> None:
        self.data, self.tracks, self.how, self.seed = data, tracks, how, seed
        self.batches = list(batches(windows, data.task.optimisation.batch_size))

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, number: int) -> Batch:
        rng = np.random.default_rng(np.random.SeedSequence([*self.seed, number]))
        stems = np.stack([self._window(window, rng) for window in self.batches[number]])
        batch = {"stems": torch.from_numpy(stems)}
        if self.how.tone_db:
            batch["tone"] = torch.from_numpy(self._tones(stems.shape[:2], rng))
        return batch

    def _window(self, window: Window, rng: np.random.Generator) -> NDArray[np.float32]:
        """Give (instruments, 2, samples)."""
        rows = []
        mixed = rng.random() < self.how.mix
        count = len(self.data.task.classes)
        for row in range(count):
            track, start = self.tracks[window.track], window.start
            if mixed and row:
                track = self.tracks[int(rng.integers(len(self.tracks)))]
                length = self.data.store.length(track.corpus, track.id)
                start = int(rng.integers(max(1, length - window.length + 1)))
            rows.append(self._instrument(track, start, window.length, row, rng))
        stems = np.stack(rows)
        return stems[:, ::-1].copy() if rng.random() < self.how.swap else stems

    def _instrument(
        self, track: LabelledTrack, start: int, length: int, row: int, rng: np.random.Generator
    ) -> NDArray[np.float32]:
        """Give one instrument of a window, (2, length)."""
        import soxr

        task, store, how = self.data.task, self.data.store, self.how
        speed = math.exp(rng.uniform(-1, 1) * math.log(how.speed)) if how.speed > 1 else 1.0
        wanted = math.ceil(length * speed)
        start = max(0, min(start, store.length(track.corpus, track.id) - wanted))
        samples = task.instruments.one(store.get(track.corpus, track.id, start, start + wanted), row)
        if speed != 1.0:
            samples = soxr.resample(np.ascontiguousarray(samples.T), speed, 1.0, quality="QQ").T
        whole = np.zeros((2, length), np.float32)
        whole[:, : samples.shape[1]] = samples[:, :length]
        gain: float = 10 ** (rng.uniform(-how.gain_db, how.gain_db) / 20)
        return whole * np.float32(gain)

    def _tones(self, shape: tuple[int, int], rng: np.random.Generator) -> NDArray[np.float32]:
        """Give a gain for each bin of each instrument, (windows, instruments, bins)."""
        bins = self.data.task.params.bins
        place = np.log2(np.arange(bins) + 1) / np.log2(bins) * (_TONE_POINTS - 1)
        curves = rng.normal(0.0, self.how.tone_db, (*shape, _TONE_POINTS))
        left = np.minimum(place.astype(int), _TONE_POINTS - 2)
        share = place - left
        gains_db = curves[..., left] * (1 - share) + curves[..., left + 1] * share
        gains: NDArray[np.float32] = (10 ** (gains_db / 20)).astype(np.float32)
        return gains


class SegmentData(pl.LightningDataModule):
    """Training and validation windows of stems.

    Training windows are cut and made up otherwise each epoch, from the seed and the epoch's number alone; validation
    windows are always the same songs, as they are.
    """

    def __init__(
        self, task: SeparationTask, store: StemStore, tracks: Sequence[LabelledTrack], how: Remix, seed: int
    ) -> None:
        super().__init__()
        corpora = {track.corpus for track in tracks}
        rate_hz = store.sample_rate_hz(corpora)
        if rate_hz != task.params.sample_rate_hz:
            raise ConfigError(
                f"the stems are at {rate_hz} Hz and the network at {task.params.sample_rate_hz} Hz; run `dvc repro`"
            )
        task.instruments.check({name for track in tracks for name in store.names(track.corpus, track.id)})
        self.task, self.store, self.how, self.seed = task, store, how, seed
        self.train_tracks = [track for track in tracks if track.split == "train"]
        self.valid_tracks = [track for track in tracks if track.split == "valid"]

    def _lengths(self, tracks: Sequence[LabelledTrack]) -> list[int]:
        return [self.store.length(track.corpus, track.id) for track in tracks]

    def train_dataloader(self) -> DataLoader:
        """Give this epoch's batches."""
        epoch = self.trainer.current_epoch if self.trainer else 0
        rng = np.random.default_rng(np.random.SeedSequence([self.seed, epoch]))
        windows = training_windows(self._lengths(self.train_tracks), self.task.window_samples, rng)
        return DataLoader(
            _SegmentBatches(self, self.train_tracks, windows, self.how, [self.seed, epoch]), batch_size=None
        )

    def val_dataloader(self) -> DataLoader:
        """Give the validation batches: every track from its beginning, in whole windows."""
        windows = whole_windows(self._lengths(self.valid_tracks), self.task.window_samples)
        return DataLoader(_SegmentBatches(self, self.valid_tracks, windows, Remix(), [self.seed]), batch_size=None)
