"""Where rock drummers put their strokes in a bar, and how that sways a model that is in two minds.

The table counts strokes by sixteenth of 4/4 bars in 155 performances of rock and pop in the Groove MIDI Dataset 1.0.0,
by Google LLC (J. Gillick, A. Roberts, J. Engel, D. Eck and D. Bamman, "Learning to Groove with Inverse Sequence
Transformations", ICML 2019), which is licensed under CC BY 4.0. Of each drum only how much likelier it is at one place
than at another counts, not how often it is played: songs differ too much in that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from backbeat.music import DRUMS

if TYPE_CHECKING:
    from backbeat.music import Beats

#: Strokes by drum and sixteenth of the bar, in 6,425 bars.
COUNTS: dict[str, tuple[int, ...]] = {
    "kick": (4373, 225, 1396, 1241, 2127, 209, 1400, 1166, 2923, 299, 2084, 831, 1716, 326, 1402, 889),
    "snare": (859, 1015, 969, 629, 4486, 795, 889, 1308, 1425, 1387, 1528, 1050, 4474, 1023, 1179, 1532),
    "hihat_closed": (1436, 778, 1547, 961, 1487, 856, 1395, 976, 1520, 903, 1421, 719, 1257, 604, 1093, 717),
    "hihat_open": (543, 112, 277, 177, 326, 166, 389, 211, 364, 164, 430, 220, 526, 164, 354, 337),
    "hihat_pedal": (2128, 58, 917, 102, 1874, 57, 1398, 63, 1460, 65, 1067, 136, 2433, 81, 916, 75),
    "tom_high": (910, 134, 474, 253, 155, 155, 215, 587, 644, 250, 273, 238, 230, 236, 265, 550),
    "tom_mid": (51, 17, 47, 28, 44, 11, 87, 41, 84, 36, 108, 54, 142, 76, 166, 71),
    "tom_low": (273, 25, 279, 65, 234, 48, 301, 41, 319, 44, 314, 105, 353, 118, 452, 185),
    "crash": (977, 96, 90, 87, 409, 17, 205, 28, 307, 28, 258, 15, 342, 16, 357, 37),
    "ride": (1847, 494, 1206, 416, 1747, 224, 1568, 422, 1828, 516, 1203, 557, 1515, 190, 1435, 257),
}
_BEATS, _PARTS = 4, 4
#: Added to every count, so that what was never played is not impossible.
_SMOOTHING = 30.0
#: The share of the table's log-odds that counts: a stroke that a drummer of another style plays must stay audible.
WEIGHT = 0.5
#: Probabilities are kept this far from 0 and 1, so that what a model is sure of stays so.
_CLIP = 1e-4


def log_odds() -> NDArray[np.float64]:
    """Return by how much likelier than on average a drum is struck at a place, shape (16, drums)."""
    counts = np.array([COUNTS[name] for name in DRUMS], dtype=np.float64).T + _SMOOTHING
    table: NDArray[np.float64] = np.log(counts / counts.mean(axis=0))
    return table


def lean_at(times_s: NDArray[np.float64], beats: Beats, weight: float = WEIGHT) -> NDArray[np.float64]:
    """Return what to add to the log-odds of each drum at some times.

    Parameters
    ----------
    times_s
        Shape (times,), seconds.
    beats
        Of the song. Only bars of four beats are leaned on; elsewhere, and before and after all beats, nothing is added.
    weight
        The share of the table's log-odds.

    Returns
    -------
    Shape (times, drums), in the order of `DRUMS`.
    """
    leaning = np.zeros((times_s.size, len(DRUMS)))
    if beats.positions is None or beats.beats_per_bar != _BEATS or len(beats) < 2:
        return leaning
    before = np.searchsorted(beats.times_s, times_s, side="right") - 1
    inside = (before >= 0) & (before < len(beats) - 1)
    before = before[inside]
    counted = beats.positions[before] <= _BEATS
    passed = (times_s[inside] - beats.times_s[before]) / (beats.times_s[before + 1] - beats.times_s[before])
    place = (beats.positions[before] - 1 + passed) * _PARTS
    # Between two sixteenths the table is interpolated: a swung or a late stroke leans on both.
    first = np.floor(place).astype(np.int64)
    share = (place - first)[:, None]
    table = log_odds()
    places = len(table)
    found = (1 - share) * table[first % places] + share * table[(first + 1) % places]
    leaning[inside] = weight * found * counted[:, None]
    return leaning


def leaned(
    probabilities: NDArray[np.float32], times_s: NDArray[np.float64], beats: Beats, weight: float = WEIGHT
) -> NDArray[np.float32]:
    """Return probabilities of the drums, shape (times, drums), as a rock drummer's habits sway them."""
    swayed = logit(np.clip(probabilities, _CLIP, 1 - _CLIP)) + lean_at(times_s, beats, weight)
    # What the model does not hear at all, no habit makes heard.
    heard: NDArray[np.float32] = np.where(probabilities > _CLIP, expit(swayed), probabilities).astype(np.float32)
    return heard
