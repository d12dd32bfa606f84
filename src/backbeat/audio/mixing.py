"""Down to one channel, and from one sample rate to another."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from backbeat.errors import ConfigError

#: Names of channels where a file gives only their number: the order of WAVE_FORMAT_EXTENSIBLE.
DEFAULT_LAYOUTS: dict[int, tuple[str, ...]] = {
    1: ("FC",),
    2: ("FL", "FR"),
    3: ("FL", "FR", "FC"),
    4: ("FL", "FR", "BL", "BR"),
    5: ("FL", "FR", "FC", "BL", "BR"),
    6: ("FL", "FR", "FC", "LFE", "BL", "BR"),
    7: ("FL", "FR", "FC", "LFE", "BC", "SL", "SR"),
    8: ("FL", "FR", "FC", "LFE", "BL", "BR", "SL", "SR"),
}

#: What each channel gives to the sum of left and right: a centre, at -3 dB, goes to both.
_WEIGHTS = {"FL": 1.0, "FR": 1.0, "FC": 2**0.5, "BL": 0.5**0.5, "BR": 0.5**0.5, "SL": 0.5**0.5, "SR": 0.5**0.5}
_WEIGHTS |= {"BC": 1.0, "FLC": 1.0, "FRC": 1.0, "WL": 0.5**0.5, "WR": 0.5**0.5, "LFE": 0.0, "LFE2": 0.0}

_SIDE_WEIGHTS = {
    side: {f"F{side}": 1.0, f"F{side}C": 1.0}
    | dict.fromkeys(("FC", "BC", f"B{side}", f"S{side}", f"W{side}"), 0.5**0.5)
    for side in "LR"
}

#: A mix this far below its loudest channel has cancelled; independent channels lose 3 dB, one silent channel 6 dB.
CANCELLED_DB = -20.0


def mono_weights(channel_names: tuple[str, ...]) -> NDArray[np.float32]:
    """Return the weight of each channel in the mono mix; they sum to 1.

    Stereo is the mean. Surround follows ITU-R BS.775-4 (table 2): centre and surrounds at -3 dB in left and right, LFE
    dropped, then the mean of left and right, normalised so that full scale stays full scale. Unknown layouts: the mean.
    """
    count = len(channel_names)
    weights = np.array([_WEIGHTS.get(name, np.nan) for name in channel_names])
    if count <= 2 or np.isnan(weights).any() or weights.sum() == 0:
        weights = np.ones(count)
    normalised: NDArray[np.float32] = (weights / weights.sum()).astype(np.float32)
    return normalised


def stereo_weights(channel_names: tuple[str, ...]) -> NDArray[np.float32]:
    """Return the weights of the channels in a stereo mix, shape (2, channels); those of a side sum to 1 at most.

    One channel goes to both sides, two stay as they are. Surround follows ITU-R BS.775-4 (table 2): to each front side
    the centre and its own other channels at -3 dB, LFE dropped, then both sides alike so that full scale stays full
    scale. Of unknown layouts the first two channels are taken.
    """
    if len(channel_names) == 1:
        return np.ones((2, 1), np.float32)
    sides = np.array([[_SIDE_WEIGHTS[side].get(name, 0.0) for name in channel_names] for side in "LR"])
    if len(channel_names) == 2 or not set(channel_names) <= set(_WEIGHTS) or not sides.any():
        return np.eye(2, len(channel_names), dtype=np.float32)
    weights: NDArray[np.float32] = (sides / max(1.0, sides.sum(axis=1).max())).astype(np.float32)
    return weights


class StreamResampler:
    """Resamples a stream of blocks, each (channels, samples), with soxr's high quality.

    Parameters
    ----------
    from_hz, to_hz
        Rates of what comes and what goes.
    """

    def __init__(self, from_hz: int, to_hz: int) -> None:
        self.from_hz, self.to_hz = from_hz, to_hz
        self._stream: Any = None
        self._channels = 0

    def push(self, block: NDArray[np.floating], *, last: bool = False) -> NDArray[np.float32]:
        """Take a block and return what is ready, which may be nothing; with `last` all that is left."""
        import soxr

        if self._stream is None:
            self._channels = block.shape[0]
            self._stream = soxr.ResampleStream(self.from_hz, self.to_hz, self._channels, dtype="float32", quality="HQ")
        out = self._stream.resample_chunk(np.ascontiguousarray(block.T, dtype=np.float32), last=last)
        return np.ascontiguousarray(np.asarray(out).T)

    def end(self) -> NDArray[np.float32]:
        """Return what is left once no more comes; nothing where nothing came."""
        nothing = np.zeros((self._channels, 0), np.float32)
        return nothing if self._stream is None else self.push(nothing, last=True)


def resample(samples: NDArray[np.float32], from_hz: int, to_hz: int) -> NDArray[np.float32]:
    """Resample (channels, samples) with soxr's high quality; the output has `round(n * to_hz / from_hz)` samples.

    Raises
    ------
    ConfigError
        If a rate is not positive.
    """
    import soxr

    if from_hz <= 0 or to_hz <= 0:
        raise ConfigError(f"cannot resample from {from_hz} to {to_hz} Hz")
    if from_hz == to_hz or samples.shape[1] == 0:
        return samples
    out = soxr.resample(np.ascontiguousarray(samples.T), from_hz, to_hz, quality="HQ")
    return np.ascontiguousarray(out.T, dtype=np.float32)
