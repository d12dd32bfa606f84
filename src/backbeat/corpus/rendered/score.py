"""A piece of music as it will be played: every note at its time in seconds, human timing included."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from backbeat.errors import CorpusError
from backbeat.music import GENERAL_MIDI_DRUMS, NOTE, Beats, Key, Onsets, TimeSignature

#: The stems into which parts are gathered.
STEMS: tuple[str, ...] = ("drums", "bass", "other")


@dataclass(frozen=True)
class Note:
    """One note: seconds, MIDI pitch (or General MIDI percussion note), MIDI velocity 1..127."""

    start_s: float
    duration_s: float
    pitch: int
    velocity: int


@dataclass(frozen=True)
class Part:
    """One player.

    Parameters
    ----------
    name
        What the player does: "drums", "bass", "chords", "melody", "pad", "percussion", ...
    stem
        One of `STEMS`.
    program
        General MIDI program 0..127 (for drums: the kit's program in bank 128).
    notes
        In order of their start.
    is_drums
        Whether pitches are percussion notes.
    level_db, pan
        Gain of the part in the mix, and place from -1 (left) to 1.
    """

    name: str
    stem: str
    program: int
    notes: tuple[Note, ...]
    is_drums: bool = False
    level_db: float = 0.0
    pan: float = 0.0

    def __post_init__(self) -> None:
        if self.stem not in STEMS:
            raise CorpusError(f"part {self.name!r} goes to unknown stem {self.stem!r}")


@dataclass(frozen=True)
class Score:
    """A composed piece.

    Parameters
    ----------
    id, style
        The track's id and genre label.
    duration_s
        Length of the audio to render; every beat and onset lies before it.
    beats
        The true beats with their positions in the bar.
    tempo_bpm
        Median tempo of the beats.
    source
        What must stay in one split: this score's seed, or the performer whose groove it uses.
    licence
        Licences of what went into it, as SPDX identifiers joined by " AND ".
    """

    id: str
    style: str
    duration_s: float
    beats: Beats
    tempo_bpm: float
    time_signature: TimeSignature
    key: Key | None
    parts: tuple[Part, ...]
    source: str
    licence: str = "CC0-1.0"

    def onsets(self) -> Onsets:
        """Every onset of every part: drums by class, all else as `note`; notes struck together once a class.

        Percussion that is none of the ten drums counts as `note`.
        """
        events: dict[tuple[float, str], int] = {}
        for part in self.parts:
            for note in part.notes:
                if not 0 <= note.start_s < self.duration_s:
                    continue
                name = GENERAL_MIDI_DRUMS.get(note.pitch, NOTE) if part.is_drums else NOTE
                moment = (round(note.start_s, 6), name)
                events[moment] = max(events.get(moment, 0), note.velocity)
        ordered = sorted(events)
        velocities = np.array([events[moment] / 127 for moment in ordered])
        return Onsets(np.array([time_s for time_s, _ in ordered]), [name for _, name in ordered], velocities)
