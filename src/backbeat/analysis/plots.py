"""One picture of an analysis: what the recording looks like, and what was heard in it.

The whole track on top (waveform, tempo), and under it a stretch close enough to read: beats with their positions in
the bar, the activations they were decoded from, and a lane for each group of drums.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from backbeat.errors import ConfigError
from backbeat.look import BEAT, DOWNBEAT, DRUM_COLOURS, FAINT, ONSET, SOFT, WAVE, drawing, plain_axes

if TYPE_CHECKING:
    from backbeat.analysis import Analysis, Evidence

_DPI = 160
#: The longest stretch in which beats and hits can be told apart at the default width.
_CLOSE_UP_S = 16.0
#: Points of a waveform drawn: about one a pixel.
_WAVE_POINTS = 2000

#: Lanes from the bottom: name, drums with their markers, colour.
_LANES: tuple[tuple[str, dict[str, str], str], ...] = (
    ("kick", {"kick": "o"}, DRUM_COLOURS["kick"]),
    ("snare", {"snare": "o"}, DRUM_COLOURS["snare"]),
    ("toms", {"tom_low": "v", "tom_mid": "o", "tom_high": "^"}, DRUM_COLOURS["tom_low"]),
    ("hi-hat", {"hihat_closed": "x", "hihat_open": "o", "hihat_pedal": "_"}, DRUM_COLOURS["hihat_closed"]),
    ("ride", {"ride": "o"}, DRUM_COLOURS["ride"]),
    ("crash", {"crash": "*"}, DRUM_COLOURS["crash"]),
)


def headline(analysis: Analysis) -> str:
    """Return the analysis in one line: tempo, meter, key, genre, loudness, length."""
    parts = ["no beat found" if analysis.tempo_bpm is None else f"{analysis.tempo_bpm:.1f} BPM"]
    if analysis.time_signature is not None:
        parts.append(analysis.time_signature)
    if analysis.key is not None:
        parts.append(f"{analysis.key.tonic} {analysis.key.mode}")
    likely = analysis.genre.probabilities[analysis.genre.label]
    parts.append(f"{'perhaps ' if analysis.genre.unsure else ''}{analysis.genre.label} ({likely:.0%})")
    if analysis.loudness_lufs is not None:
        parts.append(f"{analysis.loudness_lufs:.1f} LUFS".replace("-", "\N{MINUS SIGN}"))
    parts.append(clock(analysis.duration_s))
    return "  ·  ".join(parts)


def clock(seconds: float) -> str:
    """Write a length as m:ss, or with hours where there are any."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def close_up_s(analysis: Analysis, length_s: float = _CLOSE_UP_S) -> tuple[float, float]:
    """Choose the stretch to show closely, in seconds: where most beats and drum hits are, beginning at a downbeat."""
    end_s = analysis.duration_s
    if end_s <= 1.25 * length_s:
        return 0.0, end_s
    events_s = np.sort([beat.time_s for beat in analysis.beats] + [hit.time_s for hit in analysis.drums])
    starts_s = np.array([beat.time_s for beat in analysis.beats if beat.position == 1])
    if starts_s.size == 0:
        starts_s = np.arange(0.0, end_s - length_s, length_s / 4)
    starts_s = np.minimum(starts_s, end_s - length_s)
    counts = np.searchsorted(events_s, starts_s + length_s) - np.searchsorted(events_s, starts_s)
    start_s = max(0.0, float(starts_s[int(np.argmax(counts))]) - 0.01 * length_s)
    return start_s, start_s + length_s


def plot_analysis(
    path: Path, analysis: Analysis, evidence: Evidence, width_px: int = 1920, height_px: int = 1200
) -> None:
    """Draw an analysis, atomically; the suffix of `path` chooses PNG, SVG or PDF.

    Raises
    ------
    ConfigError
        If the suffix is another one, or the size is too small to be read.
    """
    if width_px < 640 or height_px < 480:
        raise ConfigError(f"a picture of {width_px} by {height_px} pixels cannot be read; 640 by 480 is the least")
    with drawing(path, width_px / _DPI, height_px / _DPI, _DPI) as figure:
        _draw(figure, analysis, evidence)


def _draw(figure: Any, analysis: Analysis, evidence: Evidence) -> None:
    start_s, end_s = close_up_s(analysis)
    figure.get_layout_engine().set(w_pad=0.12, h_pad=0.1)
    rows = figure.add_gridspec(5, 1, height_ratios=[1.1, 0.8, 1.1, 1.2, 1.7], hspace=0.06)
    whole = figure.add_subplot(rows[0])
    tempo = figure.add_subplot(rows[1], sharex=whole)
    wave = figure.add_subplot(rows[2])
    activation = figure.add_subplot(rows[3], sharex=wave)
    drums = figure.add_subplot(rows[4], sharex=wave)
    for axes in (whole, tempo, wave, activation, drums):
        plain_axes(axes)
    for axes in (whole, wave, activation):
        axes.tick_params(labelbottom=False)
        axes.set_yticks([])
    name = Path(analysis.path).name or "audio"
    whole.set_title(name if len(name) <= 90 else f"{name[:88]}…", loc="left", fontsize=15, fontweight="bold", pad=26)
    whole.text(0, 1.06, headline(analysis), transform=whole.transAxes, fontsize=10.5, color=SOFT, va="bottom")

    _draw_wave(whole, analysis, evidence, 0.0, analysis.duration_s)
    _label(whole, "whole track")
    if end_s - start_s < analysis.duration_s:
        for axes in (whole, tempo):
            axes.axvspan(start_s, end_s, color=BEAT, alpha=0.10, linewidth=0)
    _draw_tempo(tempo, analysis)
    whole.set_xlim(0, analysis.duration_s)
    tempo.xaxis.set_major_formatter(lambda value, _: clock(value))

    _draw_wave(wave, analysis, evidence, start_s, end_s)
    _label(wave, "beats in\nthe bar")
    _draw_beats(wave, analysis, start_s, end_s, numbers=True)
    _draw_activations(activation, evidence, start_s, end_s)
    _draw_beats(drums, analysis, start_s, end_s, numbers=False)
    _draw_drums(drums, analysis, start_s, end_s)
    wave.set_xlim(start_s, end_s)
    drums.xaxis.set_major_formatter(lambda value, _: f"{value:g} s")


def _label(axes: Any, text: str) -> None:
    axes.set_ylabel(text, rotation=0, ha="right", va="center", fontsize=8.5)


def _draw_wave(axes: Any, analysis: Analysis, evidence: Evidence, start_s: float, end_s: float) -> None:
    outline = evidence.outline
    times_s = (np.arange(outline.shape[1]) + 0.5) * analysis.duration_s / outline.shape[1]
    inside = (times_s >= start_s) & (times_s <= end_s)
    times_s, low, high = times_s[inside], outline[0, inside], outline[1, inside]
    edges = np.arange(0, times_s.size, max(1, times_s.size // _WAVE_POINTS))
    low, high = np.minimum.reduceat(low, edges), np.maximum.reduceat(high, edges)
    axes.fill_between(times_s[edges], low, high, color=WAVE, linewidth=0.4)
    peak = max(float(np.abs(outline).max()), 1e-4)
    axes.set_ylim(-1.05 * peak, 1.05 * peak)


def _draw_tempo(axes: Any, analysis: Analysis) -> None:
    times_s = np.array([beat.time_s for beat in analysis.beats])
    _label(axes, "tempo\nBPM")
    if times_s.size < 3 or analysis.tempo_bpm is None:
        axes.set_yticks([])
        axes.text(0.5, 0.5, "no tempo", transform=axes.transAxes, ha="center", va="center", color=SOFT)
        return
    curve_bpm = 60 / np.diff(times_s)
    middle_s = (times_s[1:] + times_s[:-1]) / 2
    axes.plot(middle_s, curve_bpm, ".", color=WAVE, markersize=3)
    axes.plot(middle_s, running_median(curve_bpm, 9), color=DOWNBEAT, linewidth=1.6)
    low, high = np.percentile(curve_bpm, [5, 95])
    room = max(4.0, 0.4 * (high - low))
    axes.set_ylim(low - room, high + room)
    axes.grid(axis="y", color=FAINT, linewidth=0.6)


def running_median(values: NDArray[np.float64], length: int) -> NDArray[np.float64]:
    """Return the median of the `length` (odd) values around each; fewer at the ends. Shape (values,)."""
    half = length // 2
    padded = np.pad(values.astype(np.float64), half, constant_values=np.nan)
    median: NDArray[np.float64] = np.nanmedian(np.lib.stride_tricks.sliding_window_view(padded, length), axis=1)
    return median


def _draw_beats(axes: Any, analysis: Analysis, start_s: float, end_s: float, numbers: bool) -> None:
    for beat in analysis.beats:
        if not start_s <= beat.time_s <= end_s:
            continue
        first = beat.position == 1
        axes.axvline(
            beat.time_s,
            color=DOWNBEAT if first else BEAT,
            linewidth=1.3 if first else 0.7,
            alpha=0.9 if first else 0.45,
        )
        if numbers and beat.position is not None:
            axes.text(
                beat.time_s,
                1.02,
                str(beat.position),
                transform=axes.get_xaxis_transform(),
                ha="center",
                va="bottom",
                fontsize=8.5 if first else 7,
                color=DOWNBEAT if first else SOFT,
                fontweight="bold" if first else "normal",
            )


def _draw_activations(axes: Any, evidence: Evidence, start_s: float, end_s: float) -> None:
    curves = (
        ("onset", evidence.onset_activation, evidence.onset_rate_hz, ONSET, 0.0),
        ("beat", evidence.beat_activations[:, 0], evidence.beat_rate_hz, BEAT, 1.15),
        ("downbeat", evidence.beat_activations[:, 1], evidence.beat_rate_hz, DOWNBEAT, 2.3),
    )
    for _, values, rate_hz, colour, base in curves:
        first, last = int(start_s * rate_hz), int(np.ceil(end_s * rate_hz)) + 1
        stretch = values[first:last]
        times_s = (first + np.arange(stretch.size)) / rate_hz
        axes.fill_between(times_s, base, base + stretch, color=colour, alpha=0.25, linewidth=0)
        axes.plot(times_s, base + stretch, color=colour, linewidth=0.8)
    axes.set_ylim(-0.05, 3.4)
    axes.set_yticks([base + 0.4 for *_, base in curves], [name for name, *_ in curves])
    _label(axes, "")


def _draw_drums(axes: Any, analysis: Analysis, start_s: float, end_s: float) -> None:
    for lane, (_, markers, colour) in enumerate(_LANES):
        axes.axhline(lane, color=FAINT, linewidth=0.6, zorder=0)
        for drum, marker in markers.items():
            hits = [hit for hit in analysis.drums if hit.drum == drum and start_s <= hit.time_s <= end_s]
            sizes = [10 + 70 * hit.velocity for hit in hits]
            hollow = drum == "hihat_open"
            axes.scatter(
                [hit.time_s for hit in hits],
                [lane] * len(hits),
                s=sizes,
                marker=marker,
                facecolors="none" if hollow else colour,
                edgecolors=None if marker in "x_" else colour,
                linewidths=1.2 if hollow or marker in "x_" else 0,
                zorder=3,
            )
    axes.set_ylim(-0.7, len(_LANES) - 0.3)
    axes.set_yticks(range(len(_LANES)), [name for name, _, _ in _LANES])
    if not analysis.drums:
        axes.text(0.5, 0.5, "no drums heard", transform=axes.transAxes, ha="center", va="center", color=SOFT)
