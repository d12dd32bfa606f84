"""Waveforms to stems, in segments: any length in flat memory, and to the sample what one pass over all would give."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from backbeat.errors import ConfigError
from backbeat.separation.network import SeparatorNetwork

# What four Hann windows squared sum to, where they overlap by three quarters.
_OVERLAP_GAIN = 1.5


def separate_blocks(
    network: SeparatorNetwork,
    blocks: Iterable[NDArray[np.floating]],
    *,
    segments_at_once: int = 1,
    silence: float | None = None,
) -> Iterator[NDArray[np.float32]]:
    """Separate a stream of stereo audio.

    The network hears segments of `params.segment_frames` frames that do not overlap, each by itself, as Spleeter has
    it; frames overlap from one segment into the next, so that nothing is lost where they meet.

    Parameters
    ----------
    network
        In evaluation mode, on any device.
    blocks
        Arrays of shape (2, samples), of any lengths, at `params.sample_rate_hz`.
    segments_at_once
        Segments that go through the network together; more is quicker on a GPU and takes as much more memory.
    silence
        Where no sample of a segment is above this, its stems are silent and the network is spared; None asks it always.

    Yields
    ------
    Arrays of shape (instruments, 2, samples), float32, which joined are as long as the blocks joined.

    Raises
    ------
    ConfigError
        If a block has another shape, or `segments_at_once` is not positive.
    """
    if segments_at_once < 1:
        raise ConfigError(f"segments_at_once must be 1 or more, not {segments_at_once}")
    params = network.params
    step, length = params.frame_step, params.frame_length
    hop = params.segment_frames * step * segments_at_once
    reach = hop + length - step
    device = next(network.parameters()).device
    overlap = Overlap(length, step, len(params.instruments), device)
    # A frame of silence before the first sample, so that it too lies under four windows.
    waiting = torch.zeros(2, length, device=device)
    taken = given = 0
    for block in blocks:
        if block.ndim != 2 or block.shape[0] != 2:
            raise ConfigError(f"a block of audio must be of shape (2, samples), not {block.shape}")
        taken += block.shape[1]
        piece = torch.from_numpy(np.ascontiguousarray(block, dtype=np.float32)).to(device)
        waiting = torch.cat([waiting, piece], dim=1)
        while waiting.shape[1] >= reach:
            stems = _separate(network, waiting[:, :reach], overlap, silence)
            waiting = waiting[:, hop:]
            yield from _without_silence(stems, given, length, taken)
            given += hop
    # The rest, with silence behind it up to whole segments, which is all that the network hears.
    while given < taken + length:
        whole = torch.nn.functional.pad(waiting, (0, max(0, reach - waiting.shape[1])))
        stems = _separate(network, whole[:, :reach], overlap, silence)
        waiting = waiting[:, hop:]
        yield from _without_silence(stems, given, length, taken)
        given += hop


class Overlap:
    """Turns masked spectra to samples and adds their frames up, over the ends of pieces."""

    def __init__(self, length: int, step: int, instruments: int, device: torch.device) -> None:
        self.window = torch.hann_window(length, periodic=True, device=device)
        self.length, self.step = length, step
        self._gains = (self.window / _OVERLAP_GAIN).reshape(-1, step)
        self.tail = torch.zeros(instruments, 2, length - step, device=device)
        self._masked = torch.zeros(0, device=device)

    def add(self, masks: Tensor, spectrum: Tensor) -> Tensor:
        """Map masks of a spectrum to samples.

        Masks have shape (instruments, 2, frames, bins), the spectrum (2, frames, all bins), the samples (instruments,
        2, frames * step). What reaches beyond is kept for the next call.
        """
        # One instrument after the other, in memory that is there already: to ask for it takes longer than to use it.
        if self._masked.shape != spectrum.shape:
            self._masked = torch.zeros_like(spectrum)
        instruments, _, count, bins = masks.shape
        quarters = self.length // self.step
        total = torch.zeros(instruments, 2, count + quarters - 1, self.step, device=spectrum.device)
        for instrument, mask in enumerate(masks):
            torch.mul(mask, spectrum[..., :bins], out=self._masked[..., :bins])
            frames = torch.fft.irfft(self._masked, n=self.length).unflatten(-1, (quarters, self.step))
            for quarter in range(quarters):
                total[instrument, :, quarter : quarter + count].addcmul_(frames[:, :, quarter], self._gains[quarter])
        samples = total.flatten(2)
        samples[..., : self.length - self.step] += self.tail
        self.tail = samples[..., count * self.step :].clone()
        return samples[..., : count * self.step]

    def pass_over(self, count: int) -> Tensor:
        """Return the next `count` samples where nothing is added; what is kept of earlier frames sounds out."""
        samples = torch.nn.functional.pad(self.tail, (0, count))
        self.tail = samples[..., count:].clone()
        return samples[..., :count]


def _without_silence(stems: Tensor, given: int, lead: int, taken: int) -> Iterator[NDArray[np.float32]]:
    """Leave out what belongs to the silence before the first sample and behind the last."""
    kept = stems[..., max(0, lead - given) : lead + taken - given]
    if kept.shape[-1]:
        yield kept.cpu().numpy()


def _separate(network: SeparatorNetwork, samples: Tensor, overlap: Overlap, silence: float | None) -> Tensor:
    """Separate (2, frames * step + length - step) samples to (instruments, 2, frames * step)."""
    params = network.params
    if silence is not None and float(samples.abs().max()) <= silence:
        return overlap.pass_over(samples.shape[1] - params.frame_length + params.frame_step)
    with torch.inference_mode():
        frames = samples.unfold(1, params.frame_length, params.frame_step)
        spectrum = torch.fft.rfft(frames * overlap.window)
        # The network takes segments first, then channels, frames and bins.
        heard = spectrum[..., : params.bins].abs().unflatten(1, (-1, params.segment_frames)).transpose(0, 1)
        return overlap.add(network(heard).transpose(1, 2).flatten(2, 3), spectrum)
