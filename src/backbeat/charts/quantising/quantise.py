"""From strokes and beats to a chart: bars, tempi, and each stroke on a place of its bar.

A stroke goes to the nearest place of the division that its beat is heard to have; where that is further than a
tolerance, to the nearest place of a finer grid, at last to the nearest tick: no note is moved further than stated.
Two strokes of one drum never stand in one place: the softer keeps its distance from the louder. Only strokes nearer
than a tick become one, and the report says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import ArrayLike

from backbeat.beat.meter import estimate_time_signature
from backbeat.charts.chart import BAR_TICKS, LENGTH_DECIMALS, Bar, Chart, ChartNote, Strokes, Tempo
from backbeat.charts.quantising.bars import BarPlan, Layout, lay_out_bars
from backbeat.charts.quantising.constant import lay_out_at_tempo
from backbeat.charts.quantising.grid import STATES, Divided, divide, groups_of
from backbeat.charts.quantising.marking import marked_beats, without_habits
from backbeat.charts.quantising.placing import Placed, place_strokes
from backbeat.charts.quantising.quantise_report import QuantiseReport, make_report
from backbeat.charts.quantising.tempo_map import TempoMap, as_written, fit_tempo_map, refitted
from backbeat.charts.quantising.tempo_segments import SegmentParams
from backbeat.errors import ConfigError
from backbeat.music import Beats, TimeSignature

#: Of strokes about their places, seconds: at first, and at the least and most.
_FIRST_DEVIATION_S, _LEAST_DEVIATION_S, _MOST_DEVIATION_S = 0.008, 0.004, 0.012
#: A first bar shorter than this (quarter notes) is joined to the next.
_SHORTEST_LEAD = 0.01


@dataclass(frozen=True)
class QuantiseOptions:
    """How strokes become notes.

    Parameters
    ----------
    time_signature
        The meter of all bars; as heard when left out.
    bpm
        The tempo of the whole chart, quarter notes a minute; as heard when left out.
    expressive
        Whether notes keep the timing that was heard, to the nearest of a bar's ticks.
    tolerance_s
        How far a note may be moved at most.
    segments
        What a change of tempo costs.

    Raises
    ------
    ConfigError
        If the tempo or the tolerance is out of range.
    """

    time_signature: TimeSignature | None = None
    bpm: float | None = None
    expressive: bool = False
    tolerance_s: float = 0.015
    segments: SegmentParams = field(default_factory=SegmentParams)

    def __post_init__(self) -> None:
        if self.bpm is not None and not 20 <= self.bpm <= 400:
            raise ConfigError(f"a tempo of {self.bpm:g} BPM must lie in range: choose 20 to 400 quarter notes a minute")
        if not 0.005 <= self.tolerance_s <= 0.1:
            raise ConfigError(f"tolerance_s must lie in 0.005..0.1, not {self.tolerance_s:g}")


def quantise(
    strokes: Strokes,
    beats: Beats,
    onsets_s: ArrayLike,
    duration_s: float,
    options: QuantiseOptions = QuantiseOptions(),
) -> tuple[Chart, QuantiseReport]:
    """Write strokes down as a chart.

    Parameters
    ----------
    strokes
        What was heard of the drums; may be empty, which gives bars without notes.
    beats
        As tracked; may be missing at either end and in breaks, where they go on at the tempo around.
    onsets_s
        Shape (onsets,), seconds, all onsets heard, of any instrument.
    duration_s
        Of the audio: bars go on to cover it.
    options
        How.

    Returns
    -------
    The chart, whose bar lines fall on the downbeats, and what was done.

    Raises
    ------
    ConfigError
        If there are fewer than two beats and no tempo is given, or options and beats do not go together.
    """
    if not (np.isfinite(duration_s) and duration_s > 0):
        raise ConfigError(f"audio of {duration_s:g} s has no bars")
    warnings: list[str] = []
    if options.bpm is not None:
        layout, tempo_map, said = lay_out_at_tempo(
            options.bpm, beats, onsets_s, strokes, duration_s, options.time_signature
        )
        warnings.extend(said)
    else:
        layout = lay_out_bars(beats, onsets_s, strokes, options.time_signature)
        tempo_map = _tempo_of(layout, strokes, options)
    if options.time_signature is not None:
        warnings.extend(_disagreement(beats, onsets_s, options.time_signature))
    last_s = max(duration_s, float(strokes.times_s.max(initial=0.0)) + 0.01)
    plans = _covering(layout.bars, tempo_map, last_s)
    divided, deviation_s = _divided(plans, tempo_map, strokes, _FIRST_DEVIATION_S)
    if len(strokes):
        tempo_map = _fitted_to_strokes(layout, tempo_map, divided, strokes, deviation_s, fixed=options.bpm is not None)
        plans = _covering(layout.bars, tempo_map, last_s)
        divided, deviation_s = _divided(plans, tempo_map, strokes, deviation_s)
    plans, bars, written = _written(plans, tempo_map, last_s)
    targets = divided.nearest(written.places(strokes.times_s))
    placed = place_strokes(plans, written, strokes, targets, options.tolerance_s, expressive=options.expressive)
    bars = _named(plans, bars, divided, placed, written, strokes)
    notes = [
        ChartNote(
            int(slot) // BAR_TICKS,
            int(slot) % BAR_TICKS,
            strokes.lanes[index],
            velocity,
            float(strokes.times_s[index]),
        )
        for index, slot, velocity in zip(placed.indices, placed.slots, placed.velocities, strict=True)
    ]
    chart = Chart(tuple(bars), tuple(notes))
    return chart, make_report(chart, strokes, targets, written, divided, placed, plans, warnings)


def _tempo_of(layout: Layout, strokes: Strokes, options: QuantiseOptions) -> TempoMap:
    """Fit a tempo map to the beats heard, or to the strokes on them where there are some."""
    heard = layout.heard
    quarters, beats_s = layout.quarters[heard], layout.times_s[heard]
    times_s, weights = marked_beats(beats_s, strokes)
    starts = np.array([bar.start for bar in layout.bars])
    bar = np.searchsorted(starts, quarters + 1e-6, side="right") - 1
    sizes = np.array([one.beats for one in layout.bars])[bar]
    units = np.array([one.quarters for one in layout.bars])[bar] / sizes
    places = np.round((quarters - starts[bar]) / units).astype(np.int64)
    times_s = without_habits(times_s, places, sizes)
    at_bar_line = places == 0
    return fit_tempo_map(quarters, times_s, weights=weights, at_bar_line=at_bar_line, params=options.segments)


def _covering(bars: Sequence[BarPlan], tempo_map: TempoMap, last_s: float) -> list[BarPlan]:
    """Return the bars that there are between time 0 and `last_s`, with more like the first and the last around."""
    start, end = (float(place) for place in tempo_map.places([0.0, last_s]))
    plans = list(bars)
    before: list[BarPlan] = []
    while (first := (before or plans)[-1 if before else 0]).start > start:
        before.append(replace(first, start=first.start - first.quarters, end=first.start))
    plans = before[::-1] + plans
    while plans[-1].end < end:
        plans.append(replace(plans[-1], start=plans[-1].end, end=plans[-1].end + plans[-1].quarters))
    kept = [plan for plan in plans if plan.end > start + _SHORTEST_LEAD and plan.start < end]
    return kept or plans[-1:]


def _divided(
    plans: Sequence[BarPlan], tempo_map: TempoMap, strokes: Strokes, deviation_s: float
) -> tuple[Divided, float]:
    """Divide the bars' beats; also return the standard deviation of the strokes about their places."""
    groups = groups_of(plans)
    durations_s = tempo_map.seconds(groups.starts + groups.lengths) - tempo_map.seconds(groups.starts)
    quarters = tempo_map.places(strokes.times_s)
    divided = divide(groups, durations_s, quarters, deviation_s)
    if len(strokes) < 16:
        return divided, deviation_s
    away_s = tempo_map.seconds(divided.nearest(quarters)) - strokes.times_s
    spread_s = 1.4826 * float(np.median(np.abs(away_s)))
    return divided, float(np.clip(spread_s, _LEAST_DEVIATION_S, _MOST_DEVIATION_S))


def _fitted_to_strokes(
    layout: Layout, tempo_map: TempoMap, divided: Divided, strokes: Strokes, deviation_s: float, *, fixed: bool
) -> TempoMap:
    """Fit the map to all strokes near a place, and a little to the beats; a fixed tempo is only moved in phase."""
    places = divided.nearest(tempo_map.places(strokes.times_s))
    away_s = strokes.times_s - tempo_map.seconds(places)
    near = np.abs(away_s) < 2.5 * deviation_s
    if not near.any():
        return tempo_map
    shift_s = float(np.median(away_s[near]))
    if fixed:
        return TempoMap(tempo_map.quarters, tempo_map.times_s + shift_s)
    heard = layout.heard
    beats_s, quarters = layout.times_s[heard], layout.quarters[heard]
    bias_s = float(np.median(tempo_map.seconds(quarters) + shift_s - beats_s))
    return refitted(
        tempo_map,
        np.r_[places[near], quarters],
        np.r_[strokes.times_s[near], beats_s + bias_s],
        np.r_[np.ones(np.count_nonzero(near)), np.full(quarters.size, 0.1)],
        deviation_s=deviation_s,
    )


def _written(plans: Sequence[BarPlan], tempo_map: TempoMap, last_s: float) -> tuple[list[BarPlan], list[Bar], TempoMap]:
    """Write bars from time 0 on, with their tempi; return their plans (the first cut), and when places then sound."""
    plans = list(plans)
    first = plans[0]
    length = round((first.end - float(tempo_map.places(0.0))) / 4, LENGTH_DECIMALS)
    start = first.end - 4 * length
    begins = np.r_[start, [plan.start for plan in plans[1:]]]
    ends = np.array([plan.end for plan in plans])
    inner = tempo_map.quarters[1:-1]
    inner = inner[(inner > start) & (inner < ends[-1])]
    # Tempi change on ticks: a beat of seven in a bar lies between two.
    bar = np.searchsorted(begins, inner, side="right") - 1
    ticks = np.round((inner - begins[bar]) / (ends - begins)[bar] * BAR_TICKS).astype(np.int64)
    slots = np.unique(bar * BAR_TICKS + ticks)
    slots = slots[(slots > 0) & (slots < len(plans) * BAR_TICKS)]
    bar, ticks = slots // BAR_TICKS, slots % BAR_TICKS
    places = np.r_[start, begins[bar] + ticks / BAR_TICKS * (ends - begins)[bar], ends[-1]]
    written, tempi = as_written(tempo_map, places)
    changes: dict[int, list[Tempo]] = {}
    for slot_bar, tick, bpm in zip(bar.tolist(), ticks.tolist(), tempi[1:].tolist(), strict=True):
        changes.setdefault(slot_bar, []).append(Tempo(tick, bpm))
    bars: list[Bar] = []
    running = float(tempi[0])
    for index, plan in enumerate(plans):
        here = changes.get(index, [])
        if not here or here[0].tick > 0:
            here = [Tempo(0, running), *here]
        running = here[-1].bpm
        bars.append(Bar(length if index == 0 else plan.quarters / 4, tuple(here), plan.signature))
    plans[0] = replace(first, start=start)
    return plans, bars, written


def _named(
    plans: Sequence[BarPlan],
    bars: Sequence[Bar],
    divided: Divided,
    placed: Placed,
    tempo_map: TempoMap,
    strokes: Strokes,
) -> list[Bar]:
    """Return the bars with their divisions: that of most strokes, "free" where most fit none."""
    ends = np.array([plan.end for plan in plans])
    quarters = tempo_map.places(strokes.times_s[placed.indices])
    groups = divided.groups
    group = np.clip(np.searchsorted(groups.starts, quarters, side="right") - 1, 0, groups.starts.size - 1)
    bar = np.clip(np.searchsorted(ends, groups.starts[group], side="right"), 0, len(bars) - 1)
    names = sorted(set(STATES))
    kinds = np.array([names.index(state) for state in STATES])
    votes = np.zeros((len(bars), len(names)))
    # Bars without strokes are divided as those around them.
    bar_of_group = np.clip(np.searchsorted(ends, groups.starts + 1e-6, side="right"), 0, len(bars) - 1)
    np.add.at(votes, (bar_of_group, kinds[divided.states]), 1e-3)
    np.add.at(votes, (bar, kinds[divided.states[group]]), 1.0)
    finer = np.bincount(bar, placed.finer.astype(float), minlength=len(bars))
    played = np.bincount(bar, minlength=len(bars))
    chosen = [names[index] for index in np.argmax(votes, axis=1)]
    free = (finer > 0.5 * played) & (played >= 3)
    return [
        Bar(one.length, one.tempi, one.signature, "free" if is_free else name)
        for one, name, is_free in zip(bars, chosen, free.tolist(), strict=True)
    ]


def _disagreement(beats: Beats, onsets_s: ArrayLike, signature: TimeSignature) -> list[str]:
    heard = estimate_time_signature(beats, onsets_s)
    if heard is None or heard == signature:
        return []
    return [f"bars are {signature} as asked for, though {heard} was heard"]
