"""What theory and practice say of a beat under a take: tempo, key, energy, style and groove, for many beats at once.

Each rule gives a beat a number from 0, against it, to 1, for it, and a trust from 0 to 1: how much is known of the two
sides. What is not known speaks neither for nor against. How much each rule weighs is fitted (`backbeat.recommend.
beats.fitting`), not chosen.

- Tempo: what lies within the smallest difference that listeners notice, about 2 % (Drake and Botte, "Tempo
  sensitivity in auditory sequences", Perception & Psychophysics 54, 1993), is the same tempo. Beyond it a beat has to
  be stretched, and sounds the worse the further it is (Driedger and Müller, "A Review of Time-Scale Modification of
  Music Signals", Applied Sciences 6, 2016). A beat may count twice or half as fast as the take, and three to two where
  either has triplets: listeners disagree on the level that they tap at (McKinney and Moelants, "Ambiguity in Tempo
  Perception", Music Perception 24, 2006).
- Key: keys that are next to each other on the circle of fifths share six of seven notes; so do relative keys and their
  neighbours. Disc jockeys know the circle as Camelot's wheel. The beat is transposed by the fewest semitones that bring
  it there.
- Energy, style, metre and pulse: the nearer, the better; the style is that of the beat's label, as likely as the genre
  model has it for the take.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from backbeat.recommend.items import NO_KEY, ItemTable

#: The rules, in the order of the rows of `RuleFits`.
RULES = ("tempo", "stretch", "level", "key", "transposition", "energy", "style", "metre", "pulse")

#: Standard deviation of the "same tempo", natural logarithm: what listeners do not notice, and trackers do not tell.
SAME_TEMPO = 0.015
#: With half and double tempo no stretch is further than this, natural logarithm: 41 %.
FURTHEST_STRETCH = float(np.log(2) / 2)
#: Beats of the beat to one of the take, beside 1, with what each costs against stretching (natural logarithm).
LEVELS: tuple[tuple[float, float], ...] = ((2.0, 0.05), (0.5, 0.05))
TRIPLET_LEVELS: tuple[tuple[float, float], ...] = ((1.5, 0.1), (2 / 3, 0.1))
#: From here on the second half of a beat falls where triplets have it.
TRIPLET_SWING = 0.6
_COMPOUND = (6, 9, 12)
#: Transposing on a key that is likelier wrong than right would do harm: both must be right at even odds, 0.5 times 0.5.
SURE_KEYS = 0.25
_MOST_SEMITONES = 6


@dataclass(frozen=True)
class TakeFacts:
    """What the rules ask of a take.

    Parameters
    ----------
    tempo_bpm
        None where no beat was found in it.
    key, key_confidence
        As `ItemTable` has them.
    energy, pulse_clarity
        0 to 1.
    beats_per_bar
        The numerator of the time signature; 0 where it is not known.
    triplets
        Whether its beats are divided in three.
    styles
        Probability of each style by its label (`plain_label`); styles that are not in it are not judged.
    """

    tempo_bpm: float | None
    key: int
    key_confidence: float
    energy: float
    pulse_clarity: float
    beats_per_bar: int
    triplets: bool
    styles: Mapping[str, float]


@dataclass(frozen=True, eq=False)
class BeatColumns:
    """A table of beats, made ready for the rules once; every array has shape (beats,), NaN where nothing is known.

    Parameters
    ----------
    table
        The beats.
    log_tempo
        Natural logarithm.
    energy, pulse_clarity
        0 to 1.
    key, key_confidence
        As `ItemTable` has them.
    beats_per_bar, triplets
        The numerator, 0 where it is not known, and whether the metre is compound.
    labels, label_of
        The different labels (`plain_label`), and the place of each beat's label among them.
    """

    table: ItemTable
    log_tempo: NDArray[np.float32]
    energy: NDArray[np.float32]
    pulse_clarity: NDArray[np.float32]
    key: NDArray[np.int64]
    key_confidence: NDArray[np.float32]
    beats_per_bar: NDArray[np.int64]
    triplets: NDArray[np.bool_]
    labels: tuple[str, ...]
    label_of: NDArray[np.int64]

    def __len__(self) -> int:
        return int(self.key.size)

    def of(self, rows: slice | NDArray[np.int64]) -> BeatColumns:
        """Return some of the beats, as the rules see them; `table` stays whole."""
        names = ("log_tempo", "energy", "pulse_clarity", "key", "key_confidence", "beats_per_bar", "triplets")
        return replace(self, **{name: getattr(self, name)[rows] for name in (*names, "label_of")})


@dataclass(frozen=True, eq=False)
class RuleFits:
    """What the rules say of every beat.

    Parameters
    ----------
    values, trust
        Shape (rules, beats), 0 to 1, in the order of `RULES`.
    level
        Shape (beats,), beats of the beat to one of the take: 2 where it counts twice as fast.
    stretch
        Shape (beats,), how many times faster the beat has to play.
    semitones
        Shape (beats,), by which it has to be transposed.
    """

    values: NDArray[np.float32]
    trust: NDArray[np.float32]
    level: NDArray[np.float32]
    stretch: NDArray[np.float32]
    semitones: NDArray[np.int64]


def plain_label(label: str) -> str:
    """Return a label as labels are compared: "Boom Bap" and "boom-bap" are "boom_bap"."""
    return "_".join(label.lower().replace("-", " ").replace("_", " ").split())


def columns_of(table: ItemTable) -> BeatColumns:
    """Make a table ready for the rules."""
    with np.errstate(invalid="ignore", divide="ignore"):
        log_tempo = np.where(table.tempo_bpm > 0, np.log(table.tempo_bpm), np.nan)
    written, place = np.unique(table.labels, return_inverse=True)
    plain = [plain_label(str(label)) for label in written]
    labels = tuple(sorted(set(plain)))
    as_plain = np.array([labels.index(label) for label in plain], dtype=np.int64)
    return BeatColumns(
        table=table,
        log_tempo=log_tempo.astype(np.float32),
        energy=table.energy.astype(np.float32),
        pulse_clarity=table.pulse_clarity.astype(np.float32),
        key=table.key,
        key_confidence=np.where(table.key == NO_KEY, 0, np.nan_to_num(table.key_confidence)).astype(np.float32),
        beats_per_bar=table.beats_per_bar,
        triplets=np.isin(table.beats_per_bar, _COMPOUND),
        labels=labels,
        label_of=as_plain[place] if len(table) else np.zeros(0, dtype=np.int64),
    )


def fits(take: TakeFacts, beats: BeatColumns) -> RuleFits:
    """Judge all beats by all rules."""
    values, trust = np.zeros((2, len(RULES), len(beats)), np.float32)
    row = {name: place for place, name in enumerate(RULES)}

    level, log_stretch = _tempo(take, beats)
    known = np.isfinite(log_stretch)
    log_stretch[~known] = 0.0
    values[row["tempo"]] = np.exp(-0.5 * np.square(log_stretch / SAME_TEMPO))
    values[row["stretch"]] = 1 - np.minimum(np.abs(log_stretch) / FURTHEST_STRETCH, 1)
    values[row["level"]] = level == 1.0
    for name in ("tempo", "stretch", "level"):
        trust[row[name]] = known

    sure = np.zeros(len(beats), np.float32) if take.key == NO_KEY else beats.key_confidence * take.key_confidence
    near, semitones = (table[take.key] for table in key_tables())
    for name, value in (("key", near), ("transposition", 1 - np.abs(semitones) / _MOST_SEMITONES)):
        values[row[name]], trust[row[name]] = value.astype(np.float32)[beats.key], sure

    for name, theirs, ours in (
        ("energy", beats.energy, take.energy),
        ("pulse", beats.pulse_clarity, take.pulse_clarity),
    ):
        alike = 1 - np.abs(theirs - np.float32(ours))
        known = np.isfinite(alike)
        values[row[name]], trust[row[name]] = np.where(known, alike, 0), known
    values[row["style"]], trust[row["style"]] = _style(take, beats)
    values[row["metre"]], trust[row["metre"]] = _metre(take.beats_per_bar, beats.beats_per_bar)
    return RuleFits(values, trust, level, np.exp(log_stretch), np.where(sure >= SURE_KEYS, semitones[beats.key], 0))


def _tempo(take: TakeFacts, beats: BeatColumns) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the level and the logarithm of the stretch of each beat; NaN where either has no tempo."""
    level = np.ones(len(beats), np.float32)
    if take.tempo_bpm is None:
        return level, np.full(len(beats), np.nan, np.float32)
    away = np.float32(np.log(take.tempo_bpm)) - beats.log_tempo
    level, best, least = _nearest(away, LEVELS, level, away, np.abs(away))
    rows = slice(None) if take.triplets else np.flatnonzero(beats.triplets)
    level[rows], best[rows], _ = _nearest(away[rows], TRIPLET_LEVELS, level[rows], best[rows], least[rows])
    return level, best


def _nearest(
    away: NDArray[np.float32],
    levels: tuple[tuple[float, float], ...],
    level: NDArray[np.float32],
    best: NDArray[np.float32],
    least: NDArray[np.float32],
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Return level, stretch and what it costs of each beat where a level costs less than what was found so far."""
    for ratio, cost in levels:
        shifted = away + np.float32(np.log(ratio))
        costs = np.abs(shifted)
        costs += np.float32(cost)
        better = costs < least
        level = np.where(better, np.float32(ratio), level)
        best, least = np.where(better, shifted, best), np.minimum(costs, least)
    return level, best, least


@lru_cache(maxsize=1)
def key_tables() -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return for a take's key and a beat's key, shape (24, 24) each, how near they are, and the semitones needed.

    Nearness is 1 for the same key and falls evenly with the steps on the circle of fifths, between relative keys half a
    step. The semitones are the fewest that leave one step at most; of two as few, those that bring the keys nearer, and
    then those downwards.
    """
    numbers = np.arange(24)
    tonic, minor = numbers % 12, numbers >= 12
    place = 7 * (tonic + 3 * minor) % 12
    other_mode = 0.5 * (minor[:, None] != minor)

    def steps(semitones: int) -> NDArray[np.int64]:
        apart = (place[:, None] - place - 7 * semitones) % 12
        least: NDArray[np.int64] = np.minimum(apart, 12 - apart)
        return least

    near = 1 - (steps(0) + other_mode) / 6.5
    shifts = sorted(range(-_MOST_SEMITONES, _MOST_SEMITONES + 1), key=lambda shift: (abs(shift), shift))
    distances = np.stack([steps(shift) for shift in shifts])
    costs = np.abs(np.array(shifts))[:, None, None] * 10 + np.where(distances <= 1, distances, 1000)
    return near, np.array(shifts)[np.argmin(costs, axis=0)]


def _style(take: TakeFacts, beats: BeatColumns) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return how likely the take is of each beat's style, against chance: 0.5 is chance."""
    chance = 1 / max(1, len(take.styles))
    of_label = np.array([take.styles.get(label, np.nan) for label in beats.labels])
    value = of_label / (of_label + chance)
    known = np.isfinite(value)
    return np.where(known, value, 0.0).astype(np.float32)[beats.label_of], known[beats.label_of]


def _metre(take: int, beats: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return 1 for the same number of beats in a bar, 0.5 where one is a multiple of the other, else 0."""
    counts = np.arange(1 + beats.max(initial=0))
    safe, other = np.maximum(counts, 1), max(take, 1)
    value = np.where(counts == take, 1.0, np.where((safe % other == 0) | (other % safe == 0), 0.5, 0.0))
    known = (counts > 0) & (take > 0)
    return np.where(known, value, 0.0).astype(np.float32)[beats], known[beats]
