"""Human drum performances: the Groove MIDI Dataset's layout, read into beats.

A folder has `info.csv` with the columns drummer, session, id, style, bpm, beat_type, time_signature, midi_filename,
duration and split, and the MIDI files that it names (Gillick, Roberts, Engel, Eck and Bamman, "Learning to Groove with
Inverse Sequence Transformations", ICML 2019). The drummers heard a click at the stated tempo that began at time 0, so
seconds times bpm / 60 is the beat. `info.csv` is read at once and each MIDI file only when its notes are asked for.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from backbeat.corpus.contract import SPLITS
from backbeat.corpus.midi import read_note_ons
from backbeat.errors import AnnotationError, CorpusError
from backbeat.music import TimeSignature, parse_tempo_bpm

INFO = "info.csv"
LICENCE = "CC-BY-4.0"

#: Notes of Roland's TD-11 that General MIDI has no sound for, or another one: rims and edges to the drum itself.
ROLAND_TO_GENERAL_MIDI: dict[int, int] = {22: 42, 26: 46, 40: 38, 50: 48, 47: 45, 58: 43, 52: 57, 55: 49}

#: The part of all playing time that each split should get, before performers are dealt out.
SPLIT_SHARES: dict[str, float] = {"train": 0.70, "valid": 0.15, "test": 0.15}

# Notes softer than this say little about the grid: ghost strokes and pedals wander.
_LOUD = 30
_FEWEST_NOTES = 12
_MARKS_BARS = (35, 36, 49, 52, 55, 57)


@dataclass(frozen=True, eq=False)
class PerformedNotes:
    """The strokes of one performance, in order of time.

    Parameters
    ----------
    beats
        Shape (notes,), beats from the first click.
    pitches
        Shape (notes,), General MIDI percussion notes.
    velocities
        Shape (notes,), MIDI velocities 1..127.
    """

    beats: NDArray[np.float64]
    pitches: NDArray[np.int64]
    velocities: NDArray[np.int64]

    def __len__(self) -> int:
        return int(self.beats.size)


@dataclass(frozen=True)
class Performance:
    """One recording of a drummer, as a row of `info.csv`.

    Parameters
    ----------
    id
        Unique in the folder: "drummer1/session1/1".
    performer
        Who played: "drummer1".
    style, substyle
        "latin" and "brazilian-samba"; `substyle` may be empty.
    bpm
        Tempo of the click, in quarter notes a minute.
    is_fill
        A fill of a bar or so rather than a beat that goes on.
    duration_s
        As the table says.
    dataset_split
        The data set's own split (by session, so that performers appear in several), for reference only.
    path
        The MIDI file.
    """

    id: str
    performer: str
    style: str
    substyle: str
    bpm: float
    time_signature: TimeSignature
    is_fill: bool
    duration_s: float
    dataset_split: str
    path: Path

    @property
    def source(self) -> str:
        """What must stay within one split: the performer."""
        return f"groove-{self.performer}"

    @property
    def bars(self) -> int:
        """Whole bars in it, at least 1."""
        quarters = self.duration_s * self.bpm / 60
        return max(1, math.floor(quarters * self.time_signature.denominator / 4 / self.time_signature.numerator + 0.1))

    @cached_property
    def notes(self) -> PerformedNotes:
        """The strokes, read when first asked for; AnnotationError when the MIDI file cannot be read."""
        return _read_notes(self.path, self.bpm)

    @cached_property
    def grid_fit(self) -> float:
        """How well loud strokes keep to sixteenths or triplets, 0 (not at all) to 1: the mean resultant length.

        Below about 0.3 the drummer was not with the click, and the click cannot serve as the beat.
        """
        return max(abs(_resultant(self.notes, division)) for division in (2, 3, 4))

    @cached_property
    def advance_beats(self) -> float:
        """By how much, in beats, the whole performance lies before the click (latency of the kit, or habit)."""
        means = {division: _resultant(self.notes, division) for division in (2, 3, 4)}
        division = max(means, key=lambda key: abs(means[key]))
        return float(-np.angle(means[division]) / (2 * np.pi * division))

    @cached_property
    def downbeat_share(self) -> float:
        """Share of its bars that begin with a kick or a crash: low in solos, in one-drop reggae and in much jazz."""
        loud = np.isin(self.notes.pitches, _MARKS_BARS) & (self.notes.velocities >= _LOUD)
        bars = (self.notes.beats[loud] + self.advance_beats) / self.time_signature.beats_per_bar
        whole = np.round(bars)
        begun = set(whole[np.abs(bars - whole) * self.time_signature.beats_per_bar < 0.15].tolist())
        return len(begun & set(range(self.bars))) / self.bars

    @cached_property
    def swing(self) -> float:
        """Where the second eighth of a beat lies: 0.5 straight, 0.667 triplets; 0.5 when it is seldom played."""
        loud = self.notes.velocities >= _LOUD
        phase = (self.notes.beats[loud] + self.advance_beats) % 1
        middle = phase[(phase > 0.4) & (phase < 0.72)]
        if middle.size < max(4, 0.08 * phase.size):
            return 0.5
        ratio = float(np.median(middle))
        return ratio if ratio > 0.57 else 0.5


def _resultant(notes: PerformedNotes, division: int) -> complex:
    """Mean unit vector of the phase within a beat's `division`."""
    loud = notes.beats[notes.velocities >= _LOUD]
    return complex(np.mean(np.exp(2j * np.pi * division * loud))) if loud.size >= _FEWEST_NOTES else 0j


def _read_notes(path: Path, bpm: float) -> PerformedNotes:
    table = read_note_ons(path)
    pitches = table[:, 1].astype(np.int64)
    for roland, general in ROLAND_TO_GENERAL_MIDI.items():
        pitches[table[:, 1] == roland] = general
    return PerformedNotes(table[:, 0] * bpm / 60, pitches, table[:, 2].astype(np.int64))


def load_performances(folder: Path) -> tuple[Performance, ...]:
    """Read `folder`/info.csv, in the order of its rows; the MIDI files are read later.

    Raises
    ------
    CorpusError
        If there is no info.csv, a column is missing or there are no rows.
    AnnotationError
        If a row cannot be true, naming file and line.
    """
    info = folder / INFO
    if not info.is_file():
        raise CorpusError(f"{folder}: no drum performances here, it has no {INFO}")
    performances: list[Performance] = []
    with info.open(encoding="utf-8-sig", newline="") as stream:
        reader = csv.DictReader(stream)
        needed = {"drummer", "id", "style", "bpm", "beat_type", "time_signature", "midi_filename", "duration", "split"}
        missing = sorted(needed - set(reader.fieldnames or ()))
        if missing:
            raise CorpusError(f"{info}: column {missing[0]!r} is missing")
        for row in reader:
            try:
                performances.append(_performance(folder, row))
            except AnnotationError as error:
                raise AnnotationError(error.problem, info, reader.line_num) from None
    if not performances:
        raise CorpusError(f"{info}: no performances")
    return tuple(performances)


def _performance(folder: Path, row: dict[str, str]) -> Performance:
    style, _, substyle = row["style"].partition("/")
    if row["beat_type"] not in ("beat", "fill"):
        raise AnnotationError(f"beat_type {row['beat_type']!r} is neither 'beat' nor 'fill'")
    try:
        duration_s = float(row["duration"])
    except ValueError:
        raise AnnotationError(f"duration {row['duration']!r} is not a number of seconds") from None
    return Performance(
        id=row["id"],
        performer=row["drummer"],
        style=style,
        substyle=substyle,
        bpm=parse_tempo_bpm(row["bpm"]),
        time_signature=TimeSignature.parse(row["time_signature"]),
        is_fill=row["beat_type"] == "fill",
        duration_s=duration_s,
        dataset_split={"validation": "valid"}.get(row["split"], row["split"]),
        path=folder / row["midi_filename"],
    )


def performer_splits(performances: Sequence[Performance]) -> dict[str, str]:
    """Deal the performers out to train, valid and test, so that no performer is in two.

    The data set's own split divides sessions, not people. Here the performers, longest playing time first (then by
    name), go one by one to the split that is furthest below its share of `SPLIT_SHARES` (the last ones to splits that
    would have nobody); so the division depends on nothing but the table. On the whole Groove MIDI Dataset: test
    drummers 4 and 7; valid drummers 2, 3, 6 and 9; train drummers 1, 5, 8 and 10.
    """
    playing_s: dict[str, float] = {}
    for performance in performances:
        playing_s[performance.performer] = playing_s.get(performance.performer, 0.0) + performance.duration_s
    total_s = sum(playing_s.values())
    lacking_s = {split: SPLIT_SHARES[split] * total_s for split in ("train", "test", "valid")}
    dealt: dict[str, str] = {}
    for number, performer in enumerate(sorted(playing_s, key=lambda name: (-playing_s[name], name))):
        empty = [split for split in lacking_s if split not in dealt.values()]
        scarce = len(playing_s) - number <= len(empty)
        split = max(empty if scarce else lacking_s, key=lambda name: lacking_s[name])
        dealt[performer] = split
        lacking_s[split] -= playing_s[performer]
    return dealt


def performances_for_split(performances: Sequence[Performance], split: str) -> tuple[Performance, ...]:
    """Return the performances of the performers that `performer_splits` deals to `split`, in their order.

    Raises
    ------
    CorpusError
        If `split` is not train, valid or test.
    """
    if split not in SPLITS:
        raise CorpusError(f"split {split!r} must be one of {', '.join(SPLITS)}")
    dealt = performer_splits(performances)
    return tuple(performance for performance in performances if dealt[performance.performer] == split)
