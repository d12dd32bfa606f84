"""The sounds of the story: pieces like those that the models learnt from, and the same kind over an old radio."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray
from scipy.signal import butter, resample_poly, sosfilt

RADIO_HZ = 8000
#: Slowed to 10/13 of the tempo, and lower by as much: a tape that runs out.
_SLOWER = (13, 10)
_BAND_HZ = (300.0, 3000.0)
_HISS = 0.02


def over_the_radio(samples: NDArray[np.float32], rate_hz: int, seed: int) -> NDArray[np.float32]:
    """Return mono samples as an old radio gives them: slow, narrow, hissing; at `RADIO_HZ`, full scale ±1."""
    slow = resample_poly(samples, *_SLOWER)
    narrow = sosfilt(butter(6, _BAND_HZ, "bandpass", fs=rate_hz, output="sos"), slow)
    heard = resample_poly(narrow, RADIO_HZ // 100, rate_hz // 100)
    hiss = _HISS * np.random.default_rng(seed).standard_normal(heard.size)
    found: NDArray[np.float32] = (0.9 * (heard / np.abs(heard).max()) + hiss).clip(-1, 1).astype(np.float32)
    return found


def write_radio(source: Path, target: Path, seed: int) -> None:
    """Write a recording as the radio gives it: WAV in μ-law, as telephones have it."""
    samples, rate_hz = soundfile.read(source, dtype="float32", always_2d=True)
    soundfile.write(target, over_the_radio(samples.mean(axis=1), rate_hz, seed), RADIO_HZ, subtype="ULAW")
