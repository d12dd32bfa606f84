"""How hard a chart is to play, as one number from 0 to 9.99.

In every window of 2 s, half a second apart, the strain is

    hands + 1.5 kicks + 0.5 off + sqrt(hands kicks) + 0.5 chords        (all a second)

where `hands` are strokes of the hands and `kicks` those of the feet (the hi-hat's pedal counts half), `off` are strokes
off the beats and their halves (thirds where the beat is divided so), and `chords` strokes that fall together with
another. The product of hands and feet stands for their independence. What a chart asks for is halfway between the
highest strain and the cubic mean of all windows: a hard fill counts, and what is hard throughout counts more.
The level is 6 ln(1 + strain / 14.9).

The two numbers are set so that rock in eighths at 120 BPM is about 3 and a blast beat over double bass drums at 180 BPM
about 9; they are a convention and no measurement. All terms only grow with notes, and windows depend on bars alone, so
taking notes away never raises the level.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from backbeat.charts.chart import Chart
from backbeat.charts.metre import DIVISION_LEVEL, places
from backbeat.charts.tiers import FEET

HIGHEST_LEVEL = 9.99

_WINDOW_S, _HOP_S = 2.0, 0.5
_SCALE, _EASY_STRAIN = 6.0, 14.9
_KICKS, _OFF, _CHORDS, _PEDAL = 1.5, 0.5, 0.5, 0.5
#: Strokes this close fall together.
_TOGETHER_S = 0.015


def estimate_level(chart: Chart) -> float:
    """Return how hard the chart is, 0 (no notes) to 9.99, with two decimals; see the module for the formula."""
    if not chart.notes:
        return 0.0
    strain = _strain(chart)
    asked = 0.5 * float(strain.max()) + 0.5 * float(np.cbrt(np.mean(strain**3)))
    return min(HIGHEST_LEVEL, round(_SCALE * float(np.log1p(asked / _EASY_STRAIN)), 2))


def _strain(chart: Chart) -> NDArray[np.float64]:
    """Return the strain of every window, shape (windows,)."""
    times_s = np.array([chart.time_s(note.bar, note.tick) for note in chart.notes])
    lanes = np.array([note.lane for note in chart.notes])
    feet = np.isin(lanes, sorted(FEET))
    kicks = np.where(feet, np.where(lanes == "hihat_pedal", _PEDAL, 1.0), 0.0)
    off = np.array([place.level > DIVISION_LEVEL for place in places(chart)])
    order = np.argsort(times_s, kind="stable")
    together = np.zeros(times_s.size)
    together[order[1:]] = np.diff(times_s[order]) < _TOGETHER_S
    # Windows begin before the first bar, so that a short chart is heard as one too.
    starts_s = np.arange(-_WINDOW_S / 2, max(chart.duration_s - _WINDOW_S / 2, _HOP_S), _HOP_S)
    first = np.searchsorted(times_s[order], starts_s)
    last = np.searchsorted(times_s[order], starts_s + _WINDOW_S)

    def a_second(weights: NDArray) -> NDArray[np.float64]:
        passed = np.concatenate([[0.0], np.cumsum(weights[order])])
        return np.asarray((passed[last] - passed[first]) / _WINDOW_S)

    hand_rate, kick_rate = a_second(~feet), a_second(kicks)
    return np.asarray(
        hand_rate
        + _KICKS * kick_rate
        + _OFF * a_second(off)
        + np.sqrt(hand_rate * kick_rate)
        + _CHORDS * a_second(together)
    )
