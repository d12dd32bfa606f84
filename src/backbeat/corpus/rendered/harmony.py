"""Chords from Roman numerals, scales, and voicings that move little."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from backbeat.errors import CorpusError

MAJOR_SCALE = (0, 2, 4, 5, 7, 9, 11)
SCALES: dict[str, tuple[int, ...]] = {
    "major": MAJOR_SCALE,
    "minor": (0, 2, 3, 5, 7, 8, 10),
    "harmonic_minor": (0, 2, 3, 5, 7, 8, 11),
    "dorian": (0, 2, 3, 5, 7, 9, 10),
    "mixolydian": (0, 2, 4, 5, 7, 9, 10),
    "phrygian": (0, 1, 3, 5, 7, 8, 10),
    "pentatonic_major": (0, 2, 4, 7, 9),
    "pentatonic_minor": (0, 3, 5, 7, 10),
    "blues": (0, 3, 5, 6, 7, 10),
}

_QUALITIES: dict[str, tuple[int, ...]] = {
    "": (0, 4, 7),
    "m": (0, 3, 7),
    "5": (0, 7, 12),
    "6": (0, 4, 7, 9),
    "m6": (0, 3, 7, 9),
    "7": (0, 4, 7, 10),
    "m7": (0, 3, 7, 10),
    "maj7": (0, 4, 7, 11),
    "9": (0, 4, 7, 10, 14),
    "m9": (0, 3, 7, 10, 14),
    "maj9": (0, 4, 7, 11, 14),
    "13": (0, 4, 10, 14, 21),
    "add9": (0, 4, 7, 14),
    "sus4": (0, 5, 7),
    "7sus4": (0, 5, 7, 10),
    "dim": (0, 3, 6),
    "dim7": (0, 3, 6, 9),
    "m7b5": (0, 3, 6, 10),
    "aug": (0, 4, 8),
}
_NUMERALS = {"I": 0, "II": 2, "III": 4, "IV": 5, "V": 7, "VI": 9, "VII": 11}
_TOKEN = re.compile(r"^([b#]?)([IViv]+)(.*)$")


@dataclass(frozen=True)
class Chord:
    """A root in semitones above the tonic, and the tones above the root."""

    root: int
    intervals: tuple[int, ...]

    def pitch_classes(self, tonic: int) -> tuple[int, ...]:
        """Pitch classes of its tones, root first, in the key whose tonic has pitch class `tonic`."""
        return tuple((tonic + self.root + interval) % 12 for interval in self.intervals)


@cache
def parse_chord(token: str) -> Chord:
    """Read a Roman numeral over the major scale's degrees: "ii7", "bVII", "V7sus4", "iv6"; lower case is minor.

    Raises
    ------
    CorpusError
        If it is not a numeral with a known quality.
    """
    match = _TOKEN.match(token)
    if match is None or match[2].upper() not in _NUMERALS:
        raise CorpusError(f"{token!r} is not a Roman numeral")
    root = _NUMERALS[match[2].upper()] + {"": 0, "b": -1, "#": 1}[match[1]]
    quality = match[3]
    if match[2].islower() and quality != "5" and not quality.startswith(("m", "dim")):
        quality = "m" + quality
    if quality not in _QUALITIES:
        raise CorpusError(f"{token!r} has an unknown quality {quality!r}")
    return Chord(root % 12, _QUALITIES[quality])


@cache
def parse_progression(text: str) -> tuple[tuple[Chord, ...], ...]:
    """Read "I vi ii7/V7 I": one bar a word, chords that share a bar divided by "/"."""
    return tuple(tuple(parse_chord(token) for token in bar.split("/")) for bar in text.split())


def voice(pitch_classes: tuple[int, ...], centre: float, previous: tuple[int, ...] = ()) -> tuple[int, ...]:
    """Place pitch classes near `centre` (a MIDI pitch), near the voices of `previous` where there are any.

    Returns
    -------
    tuple of int
        MIDI pitches, ascending, without repeats.
    """
    aims = previous or (centre,)
    pitches: set[int] = set()
    for pitch_class in pitch_classes:
        around = [pitch_class + 12 * octave for octave in range(2, 9)]
        pitches.add(min(around, key=lambda p: min(abs(p - aim) for aim in aims) + 0.45 * abs(p - centre)))
    return tuple(sorted(pitches))


def scale_pitches(tonic: int, scale: str, low: int, high: int) -> list[int]:
    """Return all MIDI pitches of a scale from `low` to `high`, ascending."""
    members = {(tonic + step) % 12 for step in SCALES[scale]}
    return [pitch for pitch in range(low, high + 1) if pitch % 12 in members]
