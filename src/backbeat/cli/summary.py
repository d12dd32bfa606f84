"""An analysis as people read it in a terminal."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from backbeat.analysis.plots import clock

if TYPE_CHECKING:
    from backbeat.analysis import Analysis, Descriptors

#: Lines of the listing of bars; the rest are in the JSON.
_BARS = 4

#: A share from which a genre is only called unsure for being unlike what the model was shown.
_SURE = 0.5

#: Moods nearer to the middle than this are neither one thing nor the other.
_NEUTRAL = 0.1


def summary(analysis: Analysis) -> RenderableType:
    """Return a panel: what the track is, the first bars, and what models say so."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", justify="right")
    table.add_column()
    for name, value in _facts(analysis):
        table.add_row(name, value)
    parts: list[RenderableType] = [table]
    bars = _bars(analysis)
    if bars is not None:
        parts += [Text(), bars]
    parts += [Text(), Text(_origins(analysis), style="dim")]
    return Panel(
        Group(*parts), title=Text(analysis.path, style="bold"), title_align="left", expand=False, padding=(1, 2)
    )


def _facts(analysis: Analysis) -> list[tuple[str, Text]]:
    tempo = "no beat found" if analysis.tempo_bpm is None else f"{analysis.tempo_bpm:.1f} BPM"
    facts = [("tempo", Text(tempo, style="bold")), ("meter", Text(analysis.time_signature or "not known"))]
    key = analysis.key
    facts.append(("key", Text("not tonal" if key is None else f"{key.tonic} {key.mode}  ({key.confidence:.0%})")))
    likeliest = sorted(analysis.genre.probabilities.items(), key=lambda pair: -pair[1])[:3]
    shares = "  ".join(f"{name} {share:.0%}" for name, share in likeliest)
    if analysis.genre.unsure and likeliest[0][1] >= _SURE:
        shares = f"unlike what the model was shown; nearest {likeliest[0][0]}"
    elif analysis.genre.unsure:
        shares = f"unsure: {shares}"
    facts.append(("genre", Text(shares)))
    lufs = analysis.loudness_lufs
    facts.append(("loudness", Text("not measurable" if lufs is None else f"{lufs:.1f} LUFS")))
    facts.append(("length", Text(f"{clock(analysis.duration_s)}  at {analysis.sample_rate_hz:,} Hz")))
    bars = sum(beat.position == 1 for beat in analysis.beats)
    facts.append(("heard", Text(f"{len(analysis.beats):,} beats, {bars:,} bars, {len(analysis.onsets):,} onsets")))
    counts = Counter(hit.drum for hit in analysis.drums)
    drums = "  ".join(f"{name.replace('_', ' ')} {count:,}" for name, count in counts.most_common())
    facts.append(("drums", Text(drums or "none")))
    if analysis.descriptors is not None:
        facts += _described(analysis.descriptors)
    facts += [("warning", Text(warning, style="yellow")) for warning in analysis.warnings]
    return facts


def _described(told: Descriptors) -> list[tuple[str, Text]]:
    """Put descriptors in words; what is not known is left out."""
    mood, quality = told.mood, told.quality
    by = "by a model" if mood.source == "model" else "by cues"
    feeling = (
        f"{_feeling(mood.valence, mood.arousal)}  (valence {mood.valence:+.2f}, arousal {mood.arousal:+.2f}, {by})"
    )
    pulse = f"{told.pulse_clarity:.0%} clear" + (
        "" if told.swing is None else f"  halves of a beat at {told.swing:.2f}"
    )
    levels = {"range": (told.loudness_range_lu, "LU"), "true peak": (told.true_peak_dbtp, "dBTP")}
    mastered = "  ".join(f"{name} {value:.1f} {unit}" for name, (value, unit) in levels.items() if value is not None)
    centroid_hz, rolloff_hz = told.spectrum.centroid_hz[0], told.spectrum.rolloff_hz[0]
    facts = [
        ("camelot", told.camelot or ""),
        ("energy", f"{told.energy:.0%}"),
        ("mood", feeling),
        ("pulse", pulse),
        ("dynamics", mastered),
        (
            "spectrum",
            f"centroid {centroid_hz:,.0f} Hz  85% below {rolloff_hz:,.0f} Hz  up to {quality.bandwidth_hz:,.0f} Hz",
        ),
    ]
    said = [("quality", Text(problem, style="yellow")) for problem in quality.problems]
    return [(name, Text(value)) for name, value in facts if value] + (said or [("quality", Text("nothing amiss"))])


def _feeling(valence: float, arousal: float) -> str:
    """Name the quarter of the plane of Russell ("A circumplex model of affect", 1980) that a mood lies in."""
    if max(abs(valence), abs(arousal)) < _NEUTRAL:
        return "neutral"
    if valence >= 0:
        return "happy, lively" if arousal >= 0 else "calm, content"
    return "tense, angry" if arousal >= 0 else "sad, weary"


def _bars(analysis: Analysis) -> Table | None:
    """Tabulate the first bars: when each begins, its tempo, and the drums struck in it."""
    starts_s = [beat.time_s for beat in analysis.beats if beat.position == 1]
    if len(starts_s) < 2:
        return None
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("bar", justify="right")
    table.add_column("at", justify="right")
    table.add_column("BPM", justify="right")
    table.add_column("drums")
    for number, (start_s, end_s) in enumerate(pairwise(starts_s), start=1):
        if number > _BARS:
            break
        beats = sum(start_s <= beat.time_s < end_s for beat in analysis.beats)
        # A hit on the downbeat may be played a little before it.
        counts = Counter(hit.drum for hit in analysis.drums if start_s - 0.03 <= hit.time_s < end_s - 0.03)
        drums = "  ".join(f"{name.replace('_', ' ')} {count}" for name, count in counts.most_common())
        table.add_row(str(number), f"{start_s:.2f} s", f"{60 * beats / (end_s - start_s):.1f}", drums)
    return table


def _origins(analysis: Analysis) -> str:
    return "  ".join(f"{origin.name} {origin.version}" for origin in analysis.models.values())
