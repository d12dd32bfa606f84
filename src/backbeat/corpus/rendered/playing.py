"""Bass, chords and pads: figures as strings of steps, set to the harmony of each bar.

A figure fills one bar of 4/4 in sixteenths (see `meter.steps_of` for other meters). In bass figures `1`, `3`, `5`, `6`,
`8` are tones of the chord, `w` a step on the way, `a` a tone next to the coming root, `n` the coming root itself,
early. In chord figures `x` is the chord, `X` the same accented, `u` its upper voices, `d` a dead stroke, `p` and `q`
root with fifth or sixth, `l` its lowest tone alone, digits single tones, `n` the coming chord, early.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from backbeat.corpus.rendered.arrange import Section
from backbeat.corpus.rendered.harmony import Chord, parse_progression, voice
from backbeat.corpus.rendered.meter import Event, Meter, pick, steps_of

BASS_FIGURES: dict[str, tuple[str, ...]] = {
    "eighths": ("1.1.1.1.1.1.1.1.", "1.1.1.1.1.1.5.a.", "1...1.1.1...1.1.", "1.1.1.1.1.1.1.n."),
    "octaves": ("1.8.1.8.1.8.1.8.", "1.8.1.8.1.8.5.8.", "1.8.118.1.8.1.8."),
    "offbeat": ("..1...1...1...1.", "..1...1...1...8.", "..11..11..11..11", "..1..11...1..18."),
    "tumbao": ("......5.....n...", "1.....5.....n...", "1.....5.5.....1.", "1..5..8.1..5..8.", "......5.....8..."),
    "two_beat": ("1.......5.......", "1.......5...a...", "1...5...1...5...", "1.......5.....a."),
    "walking": ("1...w...w...a...", "1...3...5...a...", "1...w...5...a...", "1...5...w...a...", "1...w..ww...a..."),
    "one_drop": ("1.1.5...3.1.....", "....1.1.5...1...", "1...1.5...1.3...", "1..1..5.1.......", "..1.1...5.5.1..."),
    "funk16": ("1..1....8.5..1..", "1.1....5..81..a.", "1..8.1....15.5.a", "1.....11.8....51", "1..1..1.8...5.6."),
    "syncopated": ("1..1..5.........", "1.....1.5.5.....", "1..5..8...5.1...", "1...1..1..5...a.", "1..1..1...5.8..."),
    "808": ("1...............", "1..1..1.........", "1.....1...1.....", "1..1......1..5..", "1.........1.8..."),
    "reese": ("1...............", "1.........1.....", "1.........8...1.", "1.....1...1....."),
    "chug": ("1.111.111.111.11", "1.1.1.1.1.1.1.1.", "1..1..1.1..1..1.", "1111111111111111", "1..11..11.1.1..1"),
    "boogie": ("1...3...5...6...", "1.1.3.3.5.5.6.6.", "1...3...5...a...", "1.1.5.5.6.6.5.5.", "1.1.1.1.1.1.1.1."),
    "sustained": ("1...............", "1.......5.......", "1.........5.1...", "1.......1.....a."),
    "waltz": ("1...........", "1...........", "5..........."),
    "cello": ("1...............", "1.......5.......", "1...3...5...3...", "1...5...8...5..."),
    "triple": ("1.....1.....", "1...5.1...5.", "1.....5...a.", "1.........1.", "1.1.1.5.5.5."),
}

CHORD_FIGURES: dict[str, tuple[str, ...]] = {
    "strum": ("X...x.xx..xxx.x.", "X.x.X.xx.xx.X.xx", "X...X.xxX.x.X.xx", "X...x.x.x...x.n."),
    "eighths": ("X.x.x.x.X.x.x.x.", "X..x..x.X...x.x.", "X...............", "X.....x.x.......", "X.x.x.x.x.x.x.n."),
    "quarters": ("X...x...x...x...", "X.......x...x...", "X...x...X...x.x."),
    "stabs": ("..x.......x.....", "......x.......x.", "X..x............", "..x..x....x..x..", "x......x..x....."),
    "comping": (
        "x.....x.........",
        "......x.......x.",
        "..x.....x.......",
        "......x.x.......",
        "x...........x.n.",
        "..x...x.........",
    ),
    "four": ("x...X...x...X...",),
    "house_stabs": ("..x..x....x..x..", "x..x..x...x..x..", "..x...x...x...x.", "X..x..x.X..x..x.", "x.....x..x......"),
    "skank": ("..X...X...X...X.", "..X...X...X...X.", "..Xx..Xx..Xx..Xx"),
    "montuno": ("x.u.xu.u.u.u.u.n", "x.uu.u.u.x.u.u.u", "u.x.u.xu.x.u.x.n", "x.x..x.x.x..x.x."),
    "bossa": ("x..x..x...x..x..", "x...x..x..x..x..", "..x..x..x...x.n."),
    "scratch": ("d.dXd.ddd.dXd.dd", "ddX.ddXdddX.dXdd", "..X.d.Xd..X.d.Xd", "X.dd..dXd.dd..Xd", "dxddXddxddxdXddd"),
    "clav": ("0..1d..0.d1..d2.", "0.d1.d0d..1d.2.d", "0d.20.d1.d0.2d.1"),
    "shuffle": ("p.p.q.q.p.p.q.q.", "p.p.p.p.q.q.p.p.", "p...q...p...q..."),
    "boom_chick": ("l...x...l...x...", "l...x.x.l...x.x.", "l...x..xl...x.x."),
    "picking": ("0.2.1.2.0.2.1.2.", "0.3.2.1.0.3.2.1.", "0..21.2.0..21.2.", "0.121.2.0.121.2."),
    "arpeggio": ("0.1.2.3.2.1.0.1.", "0.2.1.3.0.2.1.3.", "0..1..2...3..1..", "0123012301230123", "3.2.1.0.3.2.1.0."),
    "afro_guitar": ("0.2..1.2.0.2.1..", "..2.1.0...2.1.2.", "2..20.1.2..2.01.", "0..2..1.0.12..1."),
    "broken": ("0.1.2.1.3.1.2.1.", "0.2.3.2.1.2.3.2.", "0...1.2.3...2.1.", "X...1.2.3.2.1.2."),
    "alberti": ("0.2.1.2.0.2.1.2.", "0212021202120212", "0.1.2.1.0.1.2.1."),
    "strings": ("x...............", "x.......x.......", "x...x...x...x..."),
    "counterpoint": ("0...1...2...1...", "2...1...0...3...", "0.1.2.1.3...2..."),
    "waltz": ("....x...x...", "....x...x...", "....x.......", "l...x...x..."),
    "long": ("x...............", "x...............", "x.........x....."),
    "chug": ("p.ppp.ppp.ppp.pp",),
    "triple_arp": ("0.1.2.3.2.1.", "0.2.1.3.1.2.", "X.1.2.3.2.1.", "0.1.2.0.1.2."),
    "triple_strum": ("X...x.X...x.", "X.x.x.X.x.x.", "X.....x.x.x.", "X.....X...x."),
    "triple_off": ("..x.x...x.x.", "..x.....x...", "....x.....x."),
}

#: How long a tone sounds, as a part of the time to the next, and at most how many beats.
_GATES: dict[str, tuple[float, float]] = {
    "stabs": (0.5, 0.4), "house_stabs": (0.5, 0.3), "skank": (0.4, 0.25), "scratch": (0.5, 0.25), "four": (0.7, 1.0),
    "chug": (0.6, 0.4), "boom_chick": (0.6, 0.6), "waltz": (0.6, 0.7), "comping": (0.6, 1.0), "montuno": (0.8, 0.6),
    "clav": (0.6, 0.3), "walking": (0.9, 1.0), "offbeat": (0.7, 0.5), "octaves": (0.7, 0.5), "two_beat": (0.7, 1.5),
    "funk16": (0.7, 0.6), "808": (0.95, 8.0), "one_drop": (0.8, 1.0), "cello": (0.95, 8.0), "sustained": (0.97, 8.0),
}  # fmt: skip
_DETACHED = (0.9, 4.0)
_TRIPLE = {
    "arpeggio": "triple_arp", "afro_guitar": "triple_arp", "broken": "triple_arp", "alberti": "triple_arp",
    "picking": "triple_arp", "counterpoint": "triple_arp", "clav": "triple_arp", "comping": "triple_off",
    "stabs": "triple_off", "house_stabs": "triple_off", "skank": "triple_off", "strings": "strings", "long": "long",
    "waltz": "triple_strum", "chug": "chug",
}  # fmt: skip
#: Ways of playing chords that leave the beat to others.
OFF_BEAT_MODES = frozenset({"stabs", "comping", "house_stabs", "skank", "waltz", "afro_guitar"})
_STRUMMED = frozenset({"strum", "scratch", "skank", "boom_chick", "shuffle"})
_TONES = {"1": 0, "3": 4, "5": 7, "6": 9, "8": 12}


@dataclass(frozen=True)
class Harmony:
    """The chords of a whole piece.

    Parameters
    ----------
    tonic
        Pitch class of the key.
    bars
        For each bar the (beat within the bar, chord) at which chords change; the first at 0.
    """

    tonic: int
    bars: tuple[tuple[tuple[float, Chord], ...], ...]

    def at(self, bar: int, beat: float) -> Chord:
        """Return the chord of a bar at a beat within it; beyond the end the last bar's."""
        changes = self.bars[min(bar, len(self.bars) - 1)]
        chord = changes[0][1]
        for start, later in changes:
            if start <= beat + 1e-6:
                chord = later
        return chord


def make_harmony(
    rng: np.random.Generator, progressions: Sequence[str], sections: Sequence[Section], meter: Meter, tonic: int
) -> Harmony:
    """Give each kind of section a progression; chords change at bar lines, or at the middle pulse of a bar."""
    middle = meter.pulses[(len(meter.pulses) + 1) // 2] if len(meter.pulses) > 1 else 0.0
    stretch = 2 if rng.random() < 0.1 else 1
    verse = pick(rng, progressions)
    by_label = {"chorus": verse if rng.random() < 0.4 else pick(rng, progressions), "bridge": pick(rng, progressions)}
    bars: list[tuple[tuple[float, Chord], ...]] = []
    lead_in = parse_progression(verse)[0]
    bars.append(((0.0, lead_in[0]),) * 1)
    for section in sections:
        progression = parse_progression(by_label.get(section.label, verse))
        for index in range(section.bars):
            chords = progression[index // stretch % len(progression)]
            if len(chords) == 1 or not middle:
                bars.append(((0.0, chords[0]),))
            else:
                bars.append(((0.0, chords[0]), (middle, chords[1])))
    return Harmony(tonic, tuple(bars))


class Accompanist:
    """Plays bass or chords in one piece; keeps a figure for each kind of section.

    Parameters
    ----------
    rng
        Drawn from at once for figures and register, and in each call.
    mode
        A key of `BASS_FIGURES` or `CHORD_FIGURES`; "root_kick" for a bass that follows the kick.
    is_bass
        Which of the two.
    centre
        Pitch around which it plays.
    """

    def __init__(
        self, rng: np.random.Generator, mode: str, meter: Meter, harmony: Harmony, *, is_bass: bool, centre: float
    ) -> None:
        self.rng = rng
        self.mode = mode
        self.meter = meter
        self.harmony = harmony
        self.is_bass = is_bass
        self.centre = centre
        figures = BASS_FIGURES if is_bass else CHORD_FIGURES
        key = mode
        self.written_in = "3/4" if mode == "waltz" else "4/4"
        if meter.signature.is_compound and mode not in ("walking", "root_kick"):
            key = "triple" if is_bass else _TRIPLE.get(mode, "triple_strum")
            if key.startswith("triple"):
                self.written_in = "6/8"
        options = figures.get(key, ("1...............",))
        first = pick(rng, options)
        self.figures = {"verse": first, "chorus": pick(rng, options) if rng.random() < 0.5 else first}
        self.options = options
        self.gate = _GATES.get(mode, _DETACHED)
        self.variation = 0.7 if mode == "walking" else 0.5 if mode == "comping" else rng.uniform(0, 0.25)
        self.previous: tuple[int, ...] = ()

    def play(self, section: Section, kick: tuple[float, ...] = ()) -> list[Event]:
        """Play one section; `kick` are beats within the bar that a bass with "root_kick" doubles."""
        rng, size = self.rng, self.meter.beats
        steps: list[tuple[float, str]] = []
        for bar in range(section.start_bar, section.end_bar):
            figure = self.figures.get(section.label, self.figures["verse"])
            if self.mode == "root_kick" and self.is_bass:
                beats = sorted({0.0, *kick})
                steps.extend((bar * size + beat, "1") for beat in beats)
                continue
            if rng.random() < self.variation:
                figure = pick(rng, self.options)
            steps.extend((bar * size + beat, char) for beat, char in steps_of(figure, self.meter, self.written_in))
        ends = [beat for beat, _ in steps[1:]] + [float(section.end_bar * size)]
        share, longest = self.gate
        events: list[Event] = []
        for (beat, char), end in zip(steps, ends, strict=True):
            pitches, loud = self._bass(beat, char) if self.is_bass else self._chord(beat, char)
            accent = 6 if beat % size < 1e-6 else 2 if beat % 1 < 1e-6 else 0
            length = max(0.08, min((end - beat) * share, longest if char != "d" else 0.08))
            strum_s = rng.uniform(0.002, 0.016) if self.mode in _STRUMMED and len(pitches) > 1 else 0.0
            velocity = (62 + 34 * section.intensity + accent) * loud + rng.normal(0, 4)
            events.append(Event(beat, length, pitches, velocity, strum_s))
        return events

    def _place(self, beat: float) -> tuple[int, float]:
        bar = int((beat + 1e-6) // self.meter.beats)
        return bar, beat - bar * self.meter.beats

    def _near(self, pitch_class: int) -> int:
        """Return the pitch of a class nearest to the register's centre."""
        return round((self.centre - pitch_class) / 12) * 12 + pitch_class

    def _bass(self, beat: float, char: str) -> tuple[tuple[int, ...], float]:
        bar, within = self._place(beat)
        chord = self.harmony.at(bar, within)
        root = self._near((self.harmony.tonic + chord.root) % 12)
        if char in "na":
            coming = self._near((self.harmony.tonic + self.harmony.at(bar + 1, 0.0).root) % 12)
            return (coming + (pick(self.rng, (-1, 1, 2, -2)) if char == "a" else 0),), 0.95
        if char == "w":
            tone = pick(self.rng, (*chord.intervals[1:3], 2, 5, chord.intervals[-1], -2))
            return (root + tone % 12 if tone >= 0 else root + tone,), 0.92
        offset = _TONES[char]
        if char == "3":
            offset = chord.intervals[1] if chord.intervals[1] in (3, 4) else 7
        elif char == "5":
            offset = 6 if 6 in chord.intervals else 8 if 8 in chord.intervals else 7
            offset -= 12 if root + offset > self.centre + 9 else 0
        return (root + offset,), 1.05 if char == "1" else 0.95

    def _chord(self, beat: float, char: str) -> tuple[tuple[int, ...], float]:
        bar, within = self._place(beat)
        chord = self.harmony.at(bar + 1, 0.0) if char == "n" else self.harmony.at(bar, within)
        classes = chord.pitch_classes(self.harmony.tonic)
        if char in "pq":
            root = self._near(classes[0])
            return (root, root + (9 if char == "q" else 7), *((root + 12,) if self.mode == "chug" else ())), 1.0
        pitches = voice(classes, self.centre, self.previous)
        self.previous = pitches
        if char.isdecimal():
            tone = int(char)
            return (pitches[tone % len(pitches)] + 12 * (tone // len(pitches)),), 0.9
        if char == "l":
            return (self._near(classes[0]) - 12,), 1.0
        if char == "u":
            return pitches[1:] or pitches, 0.9
        if char == "d":
            return pitches[-2:], 0.5
        return pitches, 1.12 if char == "X" else 1.0


def play_pad(rng: np.random.Generator, section: Section, meter: Meter, harmony: Harmony, centre: float) -> list[Event]:
    """Hold the chords of a section, struck anew at each change and never across one."""
    events: list[Event] = []
    previous: tuple[int, ...] = ()
    held: Event | None = None
    for bar in range(section.start_bar, section.end_bar):
        changes = harmony.bars[min(bar, len(harmony.bars) - 1)]
        edges = [start for start, _ in changes[1:]] + [float(meter.beats)]
        for (start, chord), end in zip(changes, edges, strict=True):
            pitches = voice(chord.pitch_classes(harmony.tonic), centre, previous)
            at = bar * meter.beats + start
            if held is not None and held.pitches == pitches and held.length < 4 * meter.beats:
                held = held._replace(length=held.length + end - start)
                events[-1] = held
            else:
                held = Event(at, end - start, pitches, 55 + 25 * section.intensity + rng.normal(0, 3))
                events.append(held)
            previous = pitches
    return events
