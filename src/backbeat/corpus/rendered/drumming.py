"""The drummer: patterns with variations and fills, or a human performance laid over the form."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from backbeat.corpus.performances import Performance
from backbeat.corpus.rendered.arrange import Section
from backbeat.corpus.rendered.grooves import GROOVES, VELOCITIES, Groove
from backbeat.corpus.rendered.meter import Event, Meter, pick, steps_of
from backbeat.music import GENERAL_MIDI_DRUMS

_HIT = 0.1  # beats; percussion rings as long as it rings
_TIME_NOTES: dict[str, tuple[int, ...]] = {
    "jazz": (51, 51, 51, 59, 42),
    "rock": (42, 42, 51, 46, 53),
    "metal": (42, 46, 51, 52, 57, 53),
    "blues": (42, 51, 42),
    "latin": (42, 51, 53, 42),
    "afro": (42, 42, 51),
    "country": (42, 42, 51),
    "funk": (42, 42, 42, 51),
    "ballad": (42, 42, 51),
    "drum_and_bass": (42, 51, 42),
}
# Percussion that goes with any style whose patterns have none: note to string.
_EXTRAS: tuple[tuple[int, str], ...] = (
    (70, "xoxoxoxoxoxoxoxo"),
    (82, "oxoxoxoxoxoxoxox"),
    (54, "....X.......X..."),
    (54, "x.X.x.X.x.X.x.X."),
    (69, "x.x.x.x.x.x.x.x."),
    (56, "x...x...x...x..."),
    (63, "x..x..x...x.x.x."),
    (75, "x..x..x...x.x..."),
)
_CYMBALS = (49, 49, 57, 55, 52)


def grooves_for(style: str, meter: Meter) -> tuple[Groove, ...]:
    """Return the patterns of a style that fit a meter: its own if it has any, else those of 4/4, cut.

    A triple division cannot be cut from a duple one; there rock's patterns stand in for a style without its own.
    """
    name = str(meter.signature)
    own = GROOVES.get(style, GROOVES["rock"])
    exact = tuple(groove for groove in own if groove.meter == name)
    if exact:
        return exact
    if meter.signature.is_compound:
        near = tuple(groove for groove in own if groove.meter in ("6/8", "12/8"))
        return near or tuple(groove for groove in GROOVES["rock"] if groove.meter == "6/8")
    return tuple(groove for groove in own if groove.meter == "4/4")


def kick_steps(groove: Groove, meter: Meter) -> tuple[float, ...]:
    """Return the beats within the bar where the pattern's kick falls."""
    return tuple(beat for beat, char in steps_of(groove.kick, meter, groove.meter) if char != "?")


class Drummer:
    """Plays one piece; remembers a pattern for each kind of section.

    Parameters
    ----------
    style, meter
        What to play.
    rng
        Drawn from once for what stays the same in the piece, and in each call.
    """

    def __init__(self, rng: np.random.Generator, style: str, meter: Meter) -> None:
        self.style = style
        self.meter = meter
        self.rng = rng
        choices = grooves_for(style, meter)
        first = pick(rng, choices)
        second = pick(rng, choices) if rng.random() < 0.6 else first
        self.grooves = {"verse": first, "chorus": second, "intro": first, "bridge": pick(rng, choices)}
        notes = _TIME_NOTES.get(style, (42,))
        self.time_notes = {label: pick(rng, notes) for label in ("verse", "chorus", "bridge")}
        self.variation = rng.uniform(0.0, 0.12)
        self.pedal = rng.random() < 0.5
        self.ghosts = rng.uniform(0.3, 1.0)
        self.extra = pick(rng, _EXTRAS) if not meter.signature.is_compound and rng.random() < 0.5 else None

    def groove(self, section: Section) -> Groove:
        """Return the pattern of a section."""
        return self.grooves.get(section.label, self.grooves["verse"])

    def play(self, section: Section) -> tuple[list[Event], list[Event]]:
        """Play one section; return the events of the drum kit and those of other percussion."""
        kit: list[Event] = []
        percussion: list[Event] = []
        groove = self.groove(section)
        time_note = self.time_notes.get(section.label, 42 if self.style != "jazz" else 51)
        fill_from = section.end_bar * self.meter.beats - section.fill_beats
        for bar in range(section.start_bar, section.end_bar):
            start = bar * self.meter.beats
            if section.drums != "none":
                for beat, note, velocity in self._bar(groove, section, time_note):
                    if start + beat < fill_from - 1e-6:
                        kit.append(Event(start + beat, _HIT, (note,), velocity))
            others = dict(groove.others)
            if self.extra is not None and all(note in GENERAL_MIDI_DRUMS for note in others):
                others[self.extra[0]] = self.extra[1]
            for note, pattern in others.items():
                inside = note in GENERAL_MIDI_DRUMS
                if (section.drums == "full") if inside else (section.percussion and section.drums != "none"):
                    (kit if inside else percussion).extend(
                        self._strokes(pattern, groove, note, start, fill_from, inside)
                    )
        if section.drums == "none":
            return [], percussion
        if section.fill_beats:
            kit.extend(self.fill(fill_from, section.fill_beats, section.intensity))
        if section.crash and section.drums == "full":
            first = section.start_bar * self.meter.beats
            kit.append(Event(first, _HIT, (pick(self.rng, _CYMBALS[:3]),), 104 + 14 * section.intensity))
        if section.label == "build":
            kit = self._roll(section)
        return kit, percussion

    def _bar(self, groove: Groove, section: Section, time_note: int) -> list[tuple[float, int, float]]:
        rng = self.rng
        light = section.drums == "light"
        level = 0.82 + 0.22 * section.intensity
        hits: list[tuple[float, int, float]] = []
        for beat, char in steps_of(groove.time, self.meter, groove.meter):
            note = (46 if time_note in (42, 46) else time_note) if char == "O" else time_note
            if char != "?" or rng.random() < 0.35:
                hits.append((beat, note, VELOCITIES[char] * level * 0.9))
        if self.style == "trap" and rng.random() < 0.45:
            hits.extend(self._hat_roll(level))
        for pattern, note in ((groove.kick, 36), (groove.snare, groove.snare_note)):
            if light and note != 36:
                continue
            for beat, char in steps_of(pattern, self.meter, groove.meter):
                if char == "g" and rng.random() > self.ghosts:
                    continue
                if char == "?" and rng.random() > 0.35:
                    continue
                if char in "ox" and rng.random() < self.variation:
                    continue
                hits.append((beat, note, VELOCITIES[char] * level))
            if rng.random() < self.variation * 2:
                extra = self.meter.step * int(rng.integers(0, self.meter.steps))
                if all(abs(beat - extra) > 1e-6 or played != note for beat, played, _ in hits):
                    hits.append((extra, note, (70 if note == 36 else 42) * level))
        if time_note in (51, 53, 59) and self.pedal and 44 not in groove.others:
            hits.extend((beat, 44, 66.0) for beat in self.meter.pulses[1::2])
        return hits

    def _hat_roll(self, level: float) -> list[tuple[float, int, float]]:
        """Return a run of hi-hat strokes in thirty-seconds, or in triplets of them, over a beat or half of one."""
        rng = self.rng
        start = 0.5 * int(rng.integers(1, 2 * self.meter.beats))
        length = pick(rng, (0.25, 0.5, 0.5))
        division = pick(rng, (8, 8, 12, 6))
        loud = 84 * level
        return [
            (start + index / division, 42, loud * (0.75 + 0.25 * index / division))
            for index in range(1, round(length * division))
        ]

    def _strokes(self, pattern: str, groove: Groove, note: int, start: float, end: float, inside: bool) -> list[Event]:
        """Return one percussion string's events; a fill silences only what belongs to the kit."""
        return [
            Event(start + beat, _HIT, (note,), VELOCITIES[char] * (0.9 if inside else 0.8))
            for beat, char in steps_of(pattern, self.meter, groove.meter)
            if (not inside or start + beat < end - 1e-6) and (char != "?" or self.rng.random() < 0.35)
        ]

    def fill(self, start: float, length: float, intensity: float) -> list[Event]:
        """Play a fill of `length` beats from beat `start`: snare to toms, in sixteenths, eighths or triplets."""
        rng = self.rng
        compound = self.meter.signature.is_compound
        step = self.meter.step * (1 if rng.random() < 0.65 or compound else 2)
        if not compound and self.meter.signature.denominator == 4 and rng.random() < 0.2:
            step = 1 / 3
        count = round(length / step)
        route = pick(
            rng,
            (
                (38, 48, 45, 43),
                (38, 38, 48, 43),
                (48, 47, 45, 43),
                (38,),
                (38, 43),
                (50, 48, 45, 41),
                (38, 36, 48, 36),
                (43, 36, 36, 43),
                (48, 48, 43, 36),
            ),
        )
        density = rng.uniform(0.6, 1.0)
        events: list[Event] = []
        for index in range(count):
            if index and rng.random() > density:
                continue
            note = route[min(index * len(route) // max(count, 1), len(route) - 1)]
            swell = 0.75 + 0.25 * index / max(count, 1)
            accent = 1.0 if (index * step) % 1 < 1e-6 else 0.86
            velocity = 112 * swell * accent * (0.85 + 0.15 * intensity)
            events.append(Event(start + index * step, _HIT, (note,), velocity))
            if rng.random() < 0.25 and (index * step) % 1 < 1e-6:
                events.append(Event(start + index * step, _HIT, (36,), 92))
        return events

    def _roll(self, section: Section) -> list[Event]:
        """Play a build-up: snare strokes that come closer and louder, the kick on each beat at first."""
        first = section.start_bar * self.meter.beats
        total = section.bars * self.meter.beats
        note = pick(self.rng, (38, 40, 39))
        events: list[Event] = []
        for beat in range(total):
            progress = beat / total
            division = 1 if progress < 0.5 else 2 if progress < 0.75 else 4
            loud = 60 + 60 * progress
            events.extend(
                Event(first + beat + part / division, _HIT, (note,), loud - 8 * (part > 0)) for part in range(division)
            )
            if progress < 0.85:
                events.append(Event(float(first + beat), _HIT, (36,), 100))
        return events


def perform(
    rng: np.random.Generator, performance: Performance, meter: Meter, sections: Sequence[Section], drummer: Drummer
) -> list[Event]:
    """Lay a human performance over the form, from a random bar of it, looping where it is too short.

    Bars of the performance stay on bars of the piece, and its strokes keep their distance from the beat as a part of
    the beat, less what the whole take is early by. Sections without drums leave it out; some fills and cymbals of the
    pattern drummer are put over it.

    Returns
    -------
    list of Event
        In the order in which they are made, not in time.
    """
    notes = performance.notes
    beats = notes.beats + performance.advance_beats
    size = meter.beats
    whole = performance.bars
    needed = sections[-1].end_bar - sections[0].start_bar
    loop = whole if whole < 8 else whole // 4 * 4
    entry = int(rng.integers(0, max(1, whole - needed + 1))) if whole > needed else 0
    bar_of = np.floor((beats + 0.12) / size).astype(np.int64)
    by_bar = {bar: np.flatnonzero(bar_of == bar) for bar in range(whole)}
    offsets = beats - bar_of * size
    events: list[Event] = []
    for section in sections:
        if section.drums == "none":
            continue
        fill = section.fill_beats if rng.random() < 0.35 else 0.0
        fill_from = section.end_bar * size - fill
        for bar in range(section.start_bar, section.end_bar):
            source = entry + bar - sections[0].start_bar
            source = source if source < whole else source % loop
            for index in by_bar[source]:
                at = bar * size + float(offsets[index])
                note = int(notes.pitches[index])
                if at >= fill_from - 0.05 and fill:
                    continue
                if section.drums == "light" and GENERAL_MIDI_DRUMS.get(note, "")[:4] in ("snar", "tom_", "cras"):
                    continue
                events.append(Event(at, _HIT, (note,), float(notes.velocities[index])))
        if fill:
            events.extend(drummer.fill(fill_from, fill, section.intensity))
        if section.crash and section.drums == "full" and rng.random() < 0.4:
            events.append(Event(float(section.start_bar * size), _HIT, (pick(rng, _CYMBALS),), 110))
    return events
