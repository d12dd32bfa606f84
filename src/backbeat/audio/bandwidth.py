"""Up to where a recording has sound, and what lossy codec would have cut it off there.

Encoders drop what is above a frequency that they choose by the bit rate, with a filter so steep that music has no such
edge of itself (D'Alessandro and Shi, "MP3 bit rate quality detection through frequency spectrum analysis", ACM MM&Sec
2009, tell bit rates by it).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Band:
    """Up to where there is sound, and what cut it off there: "none" that shows, or a codec and its bit rate."""

    edge_hz: float
    history: str


def band_of(spectrum_db: NDArray[np.float64], sample_rate_hz: int) -> Band:
    """Judge the mean power spectrum of a recording.

    Parameters
    ----------
    spectrum_db
        Shape (bins,), from 0 Hz to half the sampling rate, 0 dB being a sine at full scale.
    sample_rate_hz
        Of the recording.
    """
    bin_hz = sample_rate_hz / 2 / (spectrum_db.size - 1)
    loud = np.flatnonzero(spectrum_db > max(float(spectrum_db.max()) - 90.0, -120.0))
    return Band(float(loud[-1] * bin_hz) if loud.size else 0.0, "none")
