"""Steady noise out of recordings before they are separated: hiss, hum, a fan.

Spectral gating by noisereduce (Sainburg, Thielk and Gentner, "Finding, visualizing, and quantifying latent structure
across diverse animal vocal repertoires", PLOS Computational Biology 16(10), 2020). Left to itself a gate takes steady
tones for noise; so it is told what the noise is: what sounds where the recording is quietest, if that is quiet enough.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Said of a recording that is left as it is.
NO_NOISE = "nowhere is noise heard alone, so that none was taken away"
_STRETCH_S = 0.5
# Music fades and pauses; a stretch this far below what is usual holds what is there all the time.
_BELOW_DB = 25.0
_CHUNK_S, _MARGIN_S = 20.0, 1.0
# The library's own masks are smoothed over 500 Hz, which takes a tenth of a pure tone away.
_GATE: dict[str, Any] = {
    "stationary": True,
    "n_fft": 2048,
    "n_std_thresh_stationary": 2.5,
    "freq_mask_smooth_hz": 60,
    "time_mask_smooth_ms": 30,
}


def quietest(samples: NDArray[np.float32], rate_hz: int) -> NDArray[np.float32] | None:
    """Return the half second in which least is heard, (channels, samples).

    None where it is not 25 dB below the loudest quarter of the recording, or nothing but digital silence is.
    """
    length = round(_STRETCH_S * rate_hz)
    starts = range(0, samples.shape[1] - length + 1, length // 2)
    powers = np.array([float(np.mean(np.square(samples[:, at : at + length]))) for at in starts])
    heard = np.flatnonzero(powers)
    if heard.size == 0:
        return None
    loud = float(np.quantile(powers[heard], 0.75))
    least = int(heard[np.argmin(powers[heard])])
    if powers[least] > loud * 10 ** (-_BELOW_DB / 10):
        return None
    return np.array(samples[:, starts[least] : starts[least] + length])


def reduced(
    blocks: Iterator[NDArray[np.float32]], noise: NDArray[np.float32], rate_hz: int, strength: float
) -> Iterator[NDArray[np.float32]]:
    """Take a share of `noise` away from a stream.

    Parameters
    ----------
    blocks, noise
        Arrays of shape (2, samples), the latter with noise alone.
    rate_hz
        Of both.
    strength
        The share, 0 to 1.

    Yields
    ------
    Arrays that joined are as long as the blocks joined.
    """
    from noisereduce import reduce_noise

    # Chunks hear a second of what surrounds them, so that they meet without a seam.
    chunk, margin = round(_CHUNK_S * rate_hz), round(_MARGIN_S * rate_hz)
    waiting, before, last = np.zeros((2, 0), np.float32), 0, False
    while not last or waiting.shape[1] > before:
        while not last and waiting.shape[1] < before + chunk + margin:
            block = next(blocks, None)
            if block is None:
                last = True
            else:
                waiting = np.concatenate([waiting, block], axis=1)
        count = min(chunk, waiting.shape[1] - before)
        if count:
            heard = waiting[:, : before + count + margin]
            clean = reduce_noise(heard, rate_hz, y_noise=noise, prop_decrease=strength, chunk_size=2 * chunk, **_GATE)
            yield clean[:, before : before + count].astype(np.float32)
        kept = max(0, before + count - margin)
        waiting, before = waiting[:, kept:], before + count - kept
