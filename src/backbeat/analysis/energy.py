"""How energetic music is, 0 to 1, by a formula of cues that listeners go by."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, log

#: Middle and width of each cue over music of all kinds, and what it counts: loudness in LUFS, onsets a second, the
#: logarithm of the spectral centroid in Hz, and flux as `Spectrum` has it. Loudness, density, brightness and spectral
#: change are what ratings of energy and of arousal follow most (Gingras, Marin and Fitch, "Beyond intensity: spectral
#: features effectively predict music-induced subjective arousal", Quarterly Journal of Experimental Psychology, 2014).
_LOUDNESS = (-17.0, 8.0, 1.0)
_DENSITY = (4.5, 3.0, 0.8)
_BRIGHTNESS = (log(1800.0), 0.6, 0.5)
_FLUX = (0.27, 0.12, 0.4)
#: What is not loud enough to be measured is as loud as this.
_SILENT_LUFS = -70.0


@dataclass(frozen=True)
class EnergyCues:
    """What energy is told by.

    Parameters
    ----------
    loudness_lufs
        Integrated; None where it is not defined.
    onsets_per_s
        Onsets a second.
    centroid_hz, flux
        Means, as `Spectrum` has them.
    """

    loudness_lufs: float | None
    onsets_per_s: float
    centroid_hz: float
    flux: float


def energy_of(cues: EnergyCues) -> float:
    """Return the energy, 0 to 1: it rises with each cue.

    The logistic function of the weighted sum of the cues, each as its distance from the middle in widths.
    """
    lufs = _SILENT_LUFS if cues.loudness_lufs is None else cues.loudness_lufs
    values = (lufs, cues.onsets_per_s, log(max(cues.centroid_hz, 1.0)), cues.flux)
    total = sum(
        weight * (value - middle) / width
        for value, (middle, width, weight) in zip(values, (_LOUDNESS, _DENSITY, _BRIGHTNESS, _FLUX), strict=True)
    )
    return 1 / (1 + exp(-total))
