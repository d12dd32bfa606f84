"""Time signatures, keys and tempi: small values with the names that musicians use."""

from __future__ import annotations

import math
from dataclasses import dataclass

from backbeat.errors import AnnotationError

TONICS: tuple[str, ...] = ("C", "C#", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")
MODES: tuple[str, ...] = ("major", "minor")
_SPELLINGS = {"Db": "C#", "D#": "Eb", "Gb": "F#", "G#": "Ab", "A#": "Bb", "Cb": "B", "B#": "C", "Fb": "E", "E#": "F"}


@dataclass(frozen=True)
class TimeSignature:
    """A meter as it is written: 4/4, 6/8, 7/8.

    Raises
    ------
    AnnotationError
        If the numerator is not in 1..32 or the denominator is not 1, 2, 4, 8, 16 or 32.
    """

    numerator: int
    denominator: int

    def __post_init__(self) -> None:
        if not 1 <= self.numerator <= 32 or self.denominator not in (1, 2, 4, 8, 16, 32):
            raise AnnotationError(f"{self.numerator}/{self.denominator} is not a time signature")

    @classmethod
    def parse(cls, text: str) -> TimeSignature:
        """Read "6/8" or "6-8"."""
        numerator, separator, denominator = text.strip().replace("-", "/").partition("/")
        if not separator or not numerator.isdecimal() or not denominator.isdecimal():
            raise AnnotationError(f"{text!r} is not a time signature such as 4/4")
        return cls(int(numerator), int(denominator))

    @property
    def is_compound(self) -> bool:
        """True for 6/8, 9/8 and 12/8, whose beat is a dotted note."""
        return self.denominator >= 8 and self.numerator > 3 and self.numerator % 3 == 0

    @property
    def beats_per_bar(self) -> int:
        """Beats that a listener counts in a bar: 4 in 4/4, 2 in 6/8, 7 in 7/8."""
        return self.numerator // 3 if self.is_compound else self.numerator

    def __str__(self) -> str:
        return f"{self.numerator}/{self.denominator}"


@dataclass(frozen=True)
class Key:
    """A tonic and a mode.

    Raises
    ------
    AnnotationError
        If the tonic is not one of the twelve (any usual spelling is taken), or the mode is not major or minor.
    """

    tonic: str
    mode: str

    def __post_init__(self) -> None:
        tonic = _SPELLINGS.get(self.tonic, self.tonic)
        if tonic not in TONICS or self.mode not in MODES:
            raise AnnotationError(f"{self.tonic} {self.mode} is not a key such as 'Eb minor'")
        object.__setattr__(self, "tonic", tonic)

    @classmethod
    def parse(cls, text: str) -> Key:
        """Read "Eb minor"."""
        tonic, _, mode = text.strip().partition(" ")
        return cls(tonic, mode)

    @property
    def camelot(self) -> str:
        """Its place on the circle of fifths as disc jockeys write it: "8B" for C major, "8A" for A minor.

        A fifth up is one more, 12 going on with 1; a major key and its relative minor share a number. Keys at one
        number, or at neighbouring numbers of one letter, share all notes but one.
        """
        major = TONICS.index(self.tonic) + (0 if self.mode == "major" else 3)
        return f"{(7 * major + 7) % 12 + 1}{'B' if self.mode == 'major' else 'A'}"

    def __str__(self) -> str:
        return f"{self.tonic} {self.mode}"


def parse_tempo_bpm(text: str) -> float:
    """Read a tempo in beats a minute; AnnotationError unless it is a number in (0, 1000)."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < 1000:
        raise AnnotationError(f"{text!r} is not a tempo in beats a minute")
    return value
