"""The true peak after ITU-R BS.1770-4, annex 2: the highest sample of the signal at four times its rate."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

#: The interpolating filter that the annex tabulates, a phase a row; the other two are these backwards.
_PHASES = (
    (0.0017089843750, 0.0109863281250, -0.0196533203125, 0.0332031250000, -0.0594482421875, 0.1373291015625,
     0.9721679687500, -0.1022949218750, 0.0476074218750, -0.0266113281250, 0.0148925781250, -0.0083007812500),
    (-0.0291748046875, 0.0292968750000, -0.0517578125000, 0.0891113281250, -0.1665039062500, 0.4650878906250,
     0.7797851562500, -0.2003173828125, 0.1015625000000, -0.0582275390625, 0.0330810546875, -0.0189208984375),
)  # fmt: skip
_TAPS = len(_PHASES[0])
_FILTER = np.array([*_PHASES, *(phase[::-1] for phase in reversed(_PHASES))], dtype=np.float32)
#: From this rate up the annex asks for no more samples than there are, from half of it for twice as many.
_ENOUGH_HZ = 176_400


@njit(cache=True, nogil=True, fastmath=True)
def _between(samples: NDArray[np.float32], phase: NDArray[np.float32], found: NDArray[np.float32]) -> None:
    """Set `found` to the samples interpolated by one phase of the filter: as many as there are whole windows."""
    for start in range(found.size):
        value = np.float32(0.0)
        for tap in range(12):
            value += phase[tap] * samples[start + tap]
        found[start] = value


class TruePeakMeter:
    """Measures the true peak of audio that arrives in blocks.

    Parameters
    ----------
    sample_rate_hz, channels
        Of the audio.
    """

    def __init__(self, sample_rate_hz: int, channels: int) -> None:
        step = 1 if sample_rate_hz < _ENOUGH_HZ // 2 else 2
        self._phases = _FILTER[::step] if sample_rate_hz < _ENOUGH_HZ else _FILTER[:0]
        self._carried = np.zeros((channels, _TAPS - 1), np.float32)
        self._peak = 0.0

    def add(self, samples: NDArray[np.floating]) -> None:
        """Take the next samples, shape (channels, samples), full scale ±1."""
        joined = np.concatenate([self._carried, samples.astype(np.float32, copy=False)], axis=1)
        for channel in joined:
            self._see(channel)
            found = np.empty(channel.size - (_TAPS - 1), np.float32)
            for phase in self._phases:
                _between(channel, phase, found)
                self._see(found)
        self._carried = joined[:, -(_TAPS - 1) :]

    def _see(self, values: NDArray[np.float32]) -> None:
        self._peak = max(self._peak, float(values.max(initial=0.0)), -float(values.min(initial=0.0)))

    def dbtp(self) -> float | None:
        """Return the true peak of all that was added in dB of full scale; None where all was silence."""
        return float(20 * np.log10(self._peak)) if self._peak > 0 else None
