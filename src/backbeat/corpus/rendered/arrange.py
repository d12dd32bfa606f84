"""Form: which sections follow one another, and who plays in each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from backbeat.corpus.rendered.meter import pick
from backbeat.corpus.rendered.styles import Style

_DANCE = ("house", "drum_and_bass", "trap")


@dataclass(frozen=True)
class Ensemble:
    """Who is there at all in a piece.

    `leaning` says that the chords fall off the beat, and mean little without a bass or drums under them.
    """

    drums: bool
    bass: bool
    chords: bool
    pad: bool
    melody: bool
    percussion: bool
    leaning: bool = False


@dataclass(frozen=True)
class Section:
    """Some bars in which the same players play the same way.

    Parameters
    ----------
    label
        "intro", "verse", "chorus", "bridge", "break", "build" or "outro"; sections of one label share material.
    start_bar, bars
        Where it lies.
    drums
        "none", "light" (time-keeping and kick only) or "full".
    intensity
        0 (bare) to 1 (everything), for velocity and density.
    fill_beats
        Length of the drum fill at its end.
    crash
        Whether a cymbal marks its start.
    stop_beats
        Length of a silence of all but the melody before its end.
    """

    label: str
    start_bar: int
    bars: int
    drums: str
    bass: bool
    chords: bool
    pad: bool
    melody: bool
    percussion: bool
    intensity: float
    fill_beats: float = 0.0
    crash: bool = False
    stop_beats: float = 0.0

    @property
    def end_bar(self) -> int:
        """The bar after its last."""
        return self.start_bar + self.bars


def make_ensemble(rng: np.random.Generator, style: Style, *, drumless: bool) -> Ensemble:
    """Draw who plays; someone always marks the harmony or the beat."""
    if not drumless and rng.random() < style.solo_share:
        return Ensemble(True, False, False, False, False, rng.random() < 0.3)
    drums = not drumless and rng.random() < style.drums_share
    chords = rng.random() < 0.94
    return Ensemble(
        drums=drums,
        bass=rng.random() < (0.95 if drums else 0.75) or not chords,
        chords=chords,
        pad=bool(style.pad_programs) and rng.random() < style.pad_share,
        melody=rng.random() < 0.82,
        percussion=drums and rng.random() < 0.7,
    )


def make_form(
    rng: np.random.Generator,
    name: str,
    phrase_bars: Sequence[int],
    ensemble: Ensemble,
    *,
    bars: int,
    beats_per_bar: int,
    excerpt: bool,
) -> tuple[Section, ...]:
    """Make sections from bar 1 on that fill at least `bars` bars.

    Parameters
    ----------
    name
        The style: dance music has build-ups and drops.
    excerpt
        Whether the piece is cut from the middle: no introduction, and the first section is already under way.
    """
    sections: list[Section] = []
    at = 1
    label = pick(rng, ("verse", "chorus")) if excerpt else "intro" if rng.random() < 0.65 else "verse"
    length = int(pick(rng, phrase_bars))
    while at < bars + 1:
        count = length if rng.random() < 0.93 else max(2, length + int(rng.integers(-2, 3)))
        if label in ("intro", "break", "build") and count > 4:
            count = pick(rng, (count // 2, count // 2, count))
        if excerpt and not sections:
            count = max(1, count - int(rng.integers(0, count)))
        section = _section(rng, label, at, count, ensemble, beats_per_bar)
        sections.append(section)
        at += count
        label = _next_label(rng, name, label)
    return tuple(sections)


def _next_label(rng: np.random.Generator, name: str, label: str) -> str:
    mark = rng.random()
    if label == "build":
        return "chorus"
    if label == "break":
        return "build" if name in _DANCE and mark < 0.7 else "chorus"
    if label in ("intro", "bridge"):
        return "verse" if mark < 0.75 else "chorus"
    if mark < 0.12:
        return "break"
    if mark < 0.22:
        return "bridge"
    if label == "verse":
        return "chorus" if mark < 0.8 else "verse"
    return "verse" if mark < 0.75 else "chorus"


def _section(
    rng: np.random.Generator, label: str, start: int, bars: int, ensemble: Ensemble, beats_per_bar: int
) -> Section:
    intensity = {"intro": 0.35, "verse": 0.55, "chorus": 0.85, "bridge": 0.6, "break": 0.3, "build": 0.6}[label]
    section = Section(
        label=label,
        start_bar=start,
        bars=bars,
        drums="full" if ensemble.drums else "none",
        bass=ensemble.bass,
        chords=ensemble.chords,
        pad=ensemble.pad and (label != "verse" or rng.random() < 0.6),
        melody=ensemble.melody and rng.random() < 0.85,
        percussion=ensemble.percussion and rng.random() < 0.8,
        intensity=float(np.clip(intensity + rng.normal(0, 0.1), 0.1, 1.0)),
        fill_beats=float(pick(rng, (0, 1, 2, 2, beats_per_bar))) if rng.random() < 0.75 else 0.0,
        crash=label in ("chorus", "bridge") or rng.random() < 0.35,
        stop_beats=float(pick(rng, (1, 2))) if rng.random() < 0.04 else 0.0,
    )
    only_drums = not (ensemble.bass or ensemble.chords or ensemble.pad)
    if label in ("intro", "break") and not only_drums:
        section = _thin(rng, section)
    elif label == "bridge" and ensemble.drums and rng.random() < 0.3:
        section = replace(section, drums="light")
    if ensemble.leaning and section.chords and section.drums == "none" and not section.pad:
        section = replace(section, bass=ensemble.bass)
    return section


def _thin(rng: np.random.Generator, section: Section) -> Section:
    """Leave players out, but never all of them."""
    way = rng.random()
    if section.drums != "none" and way < 0.2:
        thin = replace(section, bass=False, chords=False, pad=False, melody=False)
    elif way < 0.45:
        thin = replace(section, drums="none", bass=rng.random() < 0.4)
    elif way < 0.6:
        thin = replace(section, drums="none" if section.drums == "none" else "light", chords=False, pad=False)
    elif way < 0.75:
        thin = replace(section, drums="none", bass=False, chords=section.pad is False)
    elif section.drums == "full":
        thin = replace(section, drums="light")
    else:
        thin = section
    if thin.drums == "none" and not (thin.bass or thin.chords or thin.pad):
        thin = replace(thin, bass=section.bass, chords=section.chords, pad=section.pad)
    return thin
