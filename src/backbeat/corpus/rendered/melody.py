"""Melodies: phrases that breathe, come back and lean on the chord where the bar is heavy."""

from __future__ import annotations

import numpy as np

from backbeat.corpus.rendered.arrange import Section
from backbeat.corpus.rendered.harmony import scale_pitches
from backbeat.corpus.rendered.meter import Event, Meter, pick, weighted
from backbeat.corpus.rendered.playing import Harmony

# Note lengths in sixteenths with weights, chance to start off the beat, chance of a rest instead of a note, how many
# bars a phrase has, and how much of it is left silent at its end.
_MANNERS: dict[str, tuple[dict[str, float], float, float, tuple[int, ...], float]] = {
    "sung": ({"1": 0.08, "2": 0.4, "3": 0.12, "4": 0.27, "6": 0.07, "8": 0.06}, 0.45, 0.08, (2, 2, 4), 0.3),
    "riff": ({"1": 0.3, "2": 0.42, "3": 0.2, "4": 0.08}, 0.35, 0.3, (1, 1, 2), 0.25),
    "bop": ({"1": 0.06, "2": 0.66, "3": 0.05, "4": 0.17, "8": 0.06}, 0.5, 0.12, (2, 4), 0.25),
    "shred": ({"1": 0.7, "2": 0.22, "4": 0.05, "8": 0.03}, 0.1, 0.05, (1, 2), 0.1),
    "classical": ({"1": 0.08, "2": 0.37, "4": 0.38, "6": 0.05, "8": 0.12}, 0.05, 0.04, (2, 4, 4), 0.12),
}


class Melodist:
    """Plays the tune of one piece; keeps a rhythm for each kind of section and varies it.

    Parameters
    ----------
    mode
        "sung", "riff", "bop", "shred" or "classical".
    scale
        See `harmony.SCALES`.
    low, high
        Range in MIDI pitches.
    """

    def __init__(
        self,
        rng: np.random.Generator,
        mode: str,
        meter: Meter,
        harmony: Harmony,
        scale: str,
        *,
        low: int,
        high: int,
    ) -> None:
        self.rng = rng
        self.meter = meter
        self.harmony = harmony
        self.lengths, self.off_beat, self.rests, phrase_bars, self.silence = _MANNERS[mode]
        self.phrase_bars = pick(rng, phrase_bars)
        self.ladder = scale_pitches(harmony.tonic, scale, low, high)
        self.index = len(self.ladder) // 2
        self.rhythms: dict[str, list[tuple[float, float]]] = {}
        self.pick_up = rng.random() < 0.35
        # Slow beats hold more notes: a quarter at 60 is filled as two are at 120.
        self.unit = meter.step

    def play(self, section: Section) -> list[Event]:
        """Play one section, phrase by phrase."""
        events: list[Event] = []
        bar = section.start_bar
        while bar < section.end_bar:
            bars = min(self.phrase_bars, section.end_bar - bar)
            if self.rng.random() > 0.12 or not events:
                events.extend(self._phrase(section, bar, bars))
            bar += bars
        return events

    def _rhythm(self, bars: int) -> list[tuple[float, float]]:
        """Return (beat, length) of each note of a phrase; a pick-up has a negative beat."""
        rng, total = self.rng, bars * self.meter.steps
        sounding = total * (1 - self.silence * rng.uniform(0.5, 1.5))
        notes: list[tuple[float, float]] = []
        at = -2.0 * int(rng.integers(1, 3)) if self.pick_up else 0.0
        if not self.pick_up and rng.random() < self.off_beat:
            at = float(pick(rng, (1, 2, 2, 3)))
        while at < sounding:
            length = float(weighted(rng, self.lengths))
            # Off the beat long notes are syncopations; keep them for manners that like them.
            if at % 4 and length >= 4 and rng.random() > self.off_beat:
                length = 4 - at % 4 if at % 4 != 3 else 1.0
            if rng.random() > self.rests:
                notes.append((at * self.unit, length * self.unit))
            at += length
        return notes

    def _phrase(self, section: Section, bar: int, bars: int) -> list[Event]:
        rng = self.rng
        known = self.rhythms.get(f"{section.label}{bars}")
        if known is None or rng.random() < 0.2:
            known = self._rhythm(bars)
            self.rhythms[f"{section.label}{bars}"] = known
        start = bar * self.meter.beats
        direction = pick(rng, (-1, 1))
        last = len(self.ladder) - 1
        events: list[Event] = []
        for beat, length in known:
            at = start + beat
            if rng.random() < 0.15:
                direction = -direction
            self.index += direction * pick(rng, (0, 1, 1, 1, 2)) + (pick(rng, (-3, 3, 4)) if rng.random() < 0.06 else 0)
            if not 0 < self.index < last:
                direction = 1 if self.index <= 0 else -1
                self.index = min(max(self.index, 0), last)
            place = int((at + 1e-6) // self.meter.beats)
            within = at - place * self.meter.beats
            heavy = abs(within - round(within)) < 1e-6
            if heavy and rng.random() < 0.75:
                tones = set(self.harmony.at(place, within).pitch_classes(self.harmony.tonic))
                near = [i for i in (self.index, self.index - 1, self.index + 1) if 0 <= i <= last]
                self.index = next((i for i in near if self.ladder[i] % 12 in tones), self.index)
            accent = 8 if within < 1e-6 else 3 if heavy else 0
            velocity = 70 + 28 * section.intensity + accent + rng.normal(0, 6)
            events.append(Event(at, length * rng.uniform(0.8, 1.0), (self.ladder[self.index],), velocity))
        return events
