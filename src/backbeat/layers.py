"""Building blocks that the networks of several tasks share, and running a network over a whole track.

Everything works on sequences of any length: convolutions pad with zeros and there is no recurrence, so a network
trained on windows of seconds runs on whole tracks, and exports with a dynamic length.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from backbeat.errors import ConfigError

NetworkT = TypeVar("NetworkT", bound=nn.Module)


class SpectralStem(nn.Module):
    """Turn a log-mel spectrogram to a sequence of vectors.

    Small convolutions over time and frequency, each halving the number of bands, then one projection of what is left:
    the front end of Davies and Böck's TCN beat tracker (EUSIPCO 2019, section II-B) with strides for pooling.

    Parameters
    ----------
    mel_bands
        Bands coming in.
    channels
        Channels of each convolution.
    width
        Length of the vectors going out.
    time_stride
        Frames merged into one, all by the first convolution.
    dropout
        Share of the vectors' entries dropped in training, each for the whole window.
    """

    def __init__(
        self, mel_bands: int, channels: Sequence[int], width: int, time_stride: int = 1, dropout: float = 0.1
    ) -> None:
        super().__init__()
        if mel_bands % 2 ** len(channels):
            raise ConfigError(f"{mel_bands} mel bands do not halve {len(channels)} times")
        self.norm = nn.BatchNorm1d(mel_bands)
        layers: list[nn.Module] = []
        before = 1
        for number, after in enumerate(channels):
            # The kernel covers at least the frames that the stride merges, so that none goes unheard.
            frames, stride = (2 * (time_stride // 2) + 3, time_stride) if number == 0 else (3, 1)
            conv = nn.Conv2d(before, after, (3, frames), (2, stride), (1, frames // 2), bias=False)
            layers += [conv, nn.BatchNorm2d(after), nn.ReLU()]
            before = after
        # With the channels innermost a processor trains the beat model in half the time; the numbers are the same.
        self.convolutions = nn.Sequential(*layers).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.dropout = nn.Dropout1d(dropout)
        self.projection = nn.Conv1d(before * (mel_bands // 2 ** len(channels)), width, 1)

    def forward(self, log_mel: Tensor) -> Tensor:
        """Map (batch, frames, mel_bands) to (batch, width, ceil(frames / time_stride))."""
        bands = self.norm(log_mel.transpose(1, 2)).unsqueeze(1)
        maps = self.convolutions(bands).flatten(1, 2)
        vectors: Tensor = self.dropout(F.relu(self.projection(maps)))
        return vectors

    def merge_norms(self) -> None:
        """Take what the norms learnt into the convolutions before them; the stem can no longer be trained."""
        layers: list[nn.Module] = []
        for conv, norm in zip(self.convolutions[::3], self.convolutions[1::3], strict=True):
            layers += [fuse_conv_bn_eval(conv, norm), nn.ReLU(inplace=True)]
        self.convolutions = nn.Sequential(*layers).to(memory_format=torch.channels_last)  # type: ignore[call-overload]


class TemporalBlock(nn.Module):
    """A residual block of two parallel dilated convolutions over time.

    After Böck and Davies, "Deconstruct, analyse, reconstruct: how to improve tempo, beat, and downbeat estimation",
    ISMIR 2020, section 3.1: dilations d and 2d side by side, dropout, then a 1x1 convolution. ReLU stands where they
    have ELU, whose exponential would take most of the time on a CPU.
    """

    def __init__(self, width: int, kernel: int, dilation: int, dropout: float) -> None:
        super().__init__()
        half = kernel // 2
        self.near = nn.Conv1d(width, width, kernel, padding=half * dilation, dilation=dilation)
        self.far = nn.Conv1d(width, width, kernel, padding=2 * half * dilation, dilation=2 * dilation)
        self.norm = nn.BatchNorm1d(2 * width)
        # Whole channels, as they do: cheaper to draw, and a neighbour in time cannot give away what was dropped.
        self.dropout = nn.Dropout1d(dropout)
        self.mix = nn.Conv1d(2 * width, width, 1)

    def forward(self, sequence: Tensor) -> Tensor:
        """Map (batch, width, frames) to the same shape."""
        both = torch.cat([self.near(sequence), self.far(sequence)], dim=1)
        mixed: Tensor = self.mix(self.dropout(F.relu(self.norm(both))))
        return sequence + mixed


class SequenceNetwork(nn.Module):
    """A spectral stem and dilated temporal blocks: what the networks of all tasks begin with.

    Parameters
    ----------
    mel_bands
        Bands of the spectrogram.
    channels
        Channels of the stem's convolutions.
    width
        Channels of the temporal blocks.
    layers, kernel
        Number of temporal blocks, whose dilation doubles each time from 1, and taps of their convolutions.
    dropout
        Share of channels dropped in training.
    """

    #: Frames of the spectrogram that become one frame of the sequence.
    time_stride = 1

    def __init__(
        self,
        mel_bands: int,
        channels: Sequence[int] = (12, 24, 32),
        width: int = 48,
        layers: int = 6,
        kernel: int = 3,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.width = width
        self.stem = SpectralStem(mel_bands, channels, width, self.time_stride, dropout)
        self.temporal = nn.Sequential(*(TemporalBlock(width, kernel, 2**layer, dropout) for layer in range(layers)))

    def sequence(self, log_mel: Tensor) -> Tensor:
        """Map (batch, frames, mel_bands) to (batch, width, ceil(frames / time_stride))."""
        vectors: Tensor = self.temporal(self.stem(log_mel))
        return vectors


class EventNetwork(SequenceNetwork):
    """A sequence network with a logit for each kind of event and each frame; parameters as there."""

    #: Number of logits a frame.
    outputs: int

    def __init__(self, mel_bands: int, **sequence: Any) -> None:
        super().__init__(mel_bands, **sequence)
        self.head = nn.Conv1d(self.width, self.outputs, 1)

    def forward(self, log_mel: Tensor) -> Tensor:
        """Map (batch, frames, mel_bands) to logits (batch, outputs, ceil(frames / time_stride))."""
        logits: Tensor = self.head(self.sequence(log_mel))
        return logits


def for_inference(network: NetworkT) -> NetworkT:
    """Return a copy in evaluation mode that gives the same in half the time: a stem passes over its maps once."""
    quick = copy.deepcopy(network).eval()
    for part in quick.modules():
        if isinstance(part, SpectralStem):
            part.merge_norms()
    return quick


def run_network(
    network: nn.Module, log_mel: NDArray[np.floating], *, chunk_frames: int = 9000, context_frames: int = 1500
) -> NDArray[np.float32]:
    """Run a network that maps (1, frames, mel_bands) to (1, channels, frames / stride) over a track of any length.

    Long tracks go through in chunks that see `context_frames` to either side, so that memory stays flat; both numbers
    must be multiples of the network's stride.

    Parameters
    ----------
    log_mel
        Shape (frames, mel_bands).

    Returns
    -------
    ndarray
        Shape (channels, ceil(frames / stride)).
    """
    pieces = []
    with torch.inference_mode():
        for start, first, last in _chunks(log_mel.shape[0], chunk_frames, context_frames):
            piece = torch.from_numpy(np.array(log_mel[first:last], dtype=np.float32))
            output = network(piece[None])[0].numpy()
            stride = round((last - first) / output.shape[-1])
            end = min(start + chunk_frames, log_mel.shape[0])
            pieces.append(output[:, (start - first) // stride : -(-(end - first) // stride)])
    return np.concatenate(pieces, axis=1)


def _chunks(frames: int, chunk: int, context: int) -> Iterator[tuple[int, int, int]]:
    for start in range(0, frames, chunk):
        yield start, max(0, start - context), min(frames, start + chunk + context)
