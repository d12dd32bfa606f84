"""What is measured of a file while it is decoded: all its channels, at its own rate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from backbeat.audio.loudness import LOWEST_RATE_HZ, LoudnessMeter
from backbeat.audio.quality import Quality, QualityMeter


@dataclass(frozen=True)
class Mastering:
    """How a recording was mastered and kept.

    Parameters
    ----------
    loudness_range_lu
        EBU Tech 3342; None where it is not defined: shorter than 3 s, all of it below -70 LUFS, or sampled below 4 kHz.
    true_peak_dbtp
        ITU-R BS.1770-4; None where all is silence.
    quality
        See there.
    """

    loudness_range_lu: float | None
    true_peak_dbtp: float | None
    quality: Quality


class Meters:
    """The loudness of audio that arrives in blocks and, where it is asked for, its mastering.

    Parameters
    ----------
    sample_rate_hz, channel_names, codec
        Of the audio, as `AudioInfo` has them.
    mastering
        Whether to measure more than the loudness.
    """

    def __init__(self, sample_rate_hz: int, channel_names: Sequence[str], codec: str, mastering: bool) -> None:
        self._loudness = LoudnessMeter(sample_rate_hz, channel_names) if sample_rate_hz >= LOWEST_RATE_HZ else None
        self._mastering = None
        if mastering:
            from backbeat.audio.true_peak import TruePeakMeter  # numba takes a while to import

            channels = len(channel_names)
            self._mastering = TruePeakMeter(sample_rate_hz, channels), QualityMeter(sample_rate_hz, channels, codec)

    def add(self, samples: NDArray[np.floating]) -> None:
        """Take the next samples, shape (channels, samples), full scale ±1."""
        for meter in (self._loudness, *(self._mastering or ())):
            if meter is not None:
                meter.add(samples)

    def loudness_lufs(self) -> float | None:
        """Return the integrated loudness (BS.1770-4); None where it is not defined, as below 4 kHz."""
        return None if self._loudness is None else self._loudness.integrated_lufs()

    def mastering(self) -> Mastering | None:
        """Return the mastering, where it was asked for."""
        if self._mastering is None:
            return None
        true_peak, quality = self._mastering
        range_lu = None if self._loudness is None else self._loudness.range_lu()
        return Mastering(range_lu, true_peak.dbtp(), quality.quality())
