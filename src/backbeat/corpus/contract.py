r"""The corpus contract: the one form in which music with annotations is kept.

A corpus is a folder::

    annotations.csv         a row a track
    audio/waltz-0007.flac   any layout and format: a row's `path` says where
    audio/waltz-0007.beats  beside the audio: "time<TAB>position", or "time" alone where bars are not known
    audio/waltz-0007.onsets beside the audio: "time<TAB>class<TAB>velocity"; class and velocity may be left out
    stems/waltz-0007/drums.flac   optional: one file a stem, which sum to stems/waltz-0007/mixture.flac if that is there
    pairs.csv               optional: "take,beat,parts", a line for two tracks of this corpus that belong together

Times are in seconds. Empty cells mean "not known". Lines that begin with "#" are comments. Event files that are absent
mean "not annotated", which is not the same as a file without events.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path, PurePosixPath

import numpy as np

from backbeat.audio.find import AUDIO_SUFFIXES
from backbeat.errors import AnnotationError, CorpusError, ResourceError
from backbeat.files import atomic_path, write_text
from backbeat.music import NOTE, Beats, Key, Onsets, TimeSignature, parse_tempo_bpm

SPLITS: tuple[str, ...] = ("train", "valid", "test")
ANNOTATIONS = "annotations.csv"
PAIRS = "pairs.csv"
#: Files among the stems that hold their sum.
MIXTURES = frozenset({"mixture", "mix"})


def check_target(root: Path, *sources: Path) -> None:
    """Refuse to make a corpus where something else would be lost.

    Raises
    ------
    CorpusError
        If something is at `root` that is no corpus, or a file or folder that the corpus is made from is in it.
    """
    place = root.resolve()
    for source in sources:
        if source.resolve().is_relative_to(place):
            raise CorpusError(f"{root}: the corpus cannot be made in the folder that it is made from, nor around it")
    empty = place.is_dir() and not any(place.iterdir())
    if place.exists() and not empty and not (place / ANNOTATIONS).is_file():
        raise CorpusError(
            f"{root}: is there and is no corpus, so it is not replaced; remove it or choose another folder"
        )


@contextmanager
def new_corpus(root: Path, *sources: Path) -> Iterator[Path]:
    """Give a folder to make a corpus in; when the block ends well it replaces what is at `root` (`check_target`).

    Raises
    ------
    CorpusError
        As of `check_target`.
    ResourceError
        If it cannot be written.
    """
    check_target(root, *sources)
    try:
        with atomic_path(root) as folder:
            folder.mkdir()
            yield folder
    except OSError as error:
        raise ResourceError(f"{root}: cannot be written: {error.strerror or error}") from None


@dataclass(frozen=True)
class Track:
    """One row of `annotations.csv`.

    Parameters
    ----------
    id
        Unique in the corpus; letters, digits, `.`, `_` and `-` only, so that it can name files.
    path
        The audio, relative to the corpus, with forward slashes, never outside it.
    split
        `train`, `valid` or `test`.
    genre
        A label, or empty.
    tempo_bpm, time_signature, key
        As in `backbeat.music`, or None.
    source
        What must never be divided between splits: the song, performer or seed. Empty means the track itself.
    licence
        An SPDX identifier or a short text, or empty.
    sha256
        Of the audio file, in hexadecimal, or empty when it was never taken.
    """

    id: str
    path: str
    split: str = "train"
    genre: str = ""
    tempo_bpm: float | None = None
    time_signature: TimeSignature | None = None
    key: Key | None = None
    source: str = ""
    licence: str = ""
    sha256: str = ""

    def __post_init__(self) -> None:
        if not self.id or not all(char.isalnum() or char in "._-" for char in self.id) or self.id[0] == ".":
            raise AnnotationError(f"track id {self.id!r} must be letters, digits, '.', '_' and '-'")
        path = PurePosixPath(self.path)
        if not self.path or path.is_absolute() or ".." in path.parts:
            raise AnnotationError(f"path {self.path!r} of track {self.id} must lie inside the corpus")
        if self.split not in SPLITS:
            raise AnnotationError(f"split {self.split!r} of track {self.id} must be one of {', '.join(SPLITS)}")

    @property
    def group(self) -> str:
        """What may not be divided between splits: the source, or the track itself."""
        return self.source or self.id


COLUMNS: tuple[str, ...] = tuple(field.name for field in fields(Track))


@dataclass(frozen=True)
class Pair:
    """A row of `pairs.csv`: two tracks that belong together.

    Parameters
    ----------
    take, beat
        Ids of what is to be accompanied and of what accompanies it.
    parts
        What the beat is made of: "drums", "backing"; letters, digits and `_` only.

    Raises
    ------
    AnnotationError
        If a cell is empty or malformed, or the two are one.
    """

    take: str
    beat: str
    parts: str

    def __post_init__(self) -> None:
        if not (self.take and self.beat and re.fullmatch(r"\w+", self.parts, re.ASCII)):
            raise AnnotationError("a pair needs a take, a beat and what the beat's parts are called")
        if self.take == self.beat:
            raise AnnotationError(f"track {self.take} is paired with itself")


PAIR_COLUMNS: tuple[str, ...] = tuple(field.name for field in fields(Pair))


@dataclass(frozen=True)
class Corpus:
    """A corpus in memory: where it lies and its rows."""

    root: Path
    tracks: tuple[Track, ...]

    @property
    def name(self) -> str:
        """The name of the corpus's folder."""
        return self.root.name

    def audio_path(self, track: Track) -> Path:
        """Where the audio of `track` lies."""
        return self.root / track.path

    def beats_path(self, track: Track) -> Path:
        """Where the beats of `track` lie, if it has any."""
        return self.audio_path(track).with_suffix(".beats")

    def onsets_path(self, track: Track) -> Path:
        """Where the onsets of `track` lie, if it has any."""
        return self.audio_path(track).with_suffix(".onsets")

    def stems(self, track: Track) -> dict[str, Path]:
        """Return the file of each stem of `track`, by name; none where it has no stems."""
        folder = self.root / "stems" / track.id
        files = sorted(folder.iterdir()) if folder.is_dir() else []
        return {
            path.stem: path for path in files if path.suffix.lower() in AUDIO_SUFFIXES and path.stem not in MIXTURES
        }

    def pairs(self) -> tuple[Pair, ...]:
        """Read which tracks belong together; none where there is no pairs.csv.

        Raises
        ------
        AnnotationError
            Naming file and line: a pair that cannot be, a track that is not there or in two pairs, or two splits.
        CorpusError
            If the file is not CSV in UTF-8 with the columns take, beat and parts.
        """
        path = self.root / PAIRS
        return _read_pairs(path, {track.id: track for track in self.tracks}) if path.exists() else ()

    def beats(self, track: Track) -> Beats | None:
        """Read the beats of `track`; None when it is not annotated; AnnotationError naming file and line."""
        path = self.beats_path(track)
        return read_beats(path) if path.exists() else None

    def onsets(self, track: Track) -> Onsets | None:
        """Read the onsets of `track`; None when it is not annotated; AnnotationError naming file and line."""
        path = self.onsets_path(track)
        return read_onsets(path) if path.exists() else None


def read_corpus(root: Path) -> Corpus:
    """Read `root`/annotations.csv.

    Raises
    ------
    CorpusError
        If the folder or its annotations.csv is missing, has no rows, or repeats an id.
    AnnotationError
        If a row cannot be true, naming file and line.
    """
    tracks: list[Track] = []
    for _, track in read_rows(root / ANNOTATIONS):
        if isinstance(track, AnnotationError):
            raise track
        tracks.append(track)
    return Corpus(root, tuple(tracks))


def unknown_columns(path: Path) -> list[str]:
    """Return the columns of an annotations.csv that mean nothing: misspelt ones, most likely."""
    with path.open(encoding="utf-8-sig", newline="", errors="replace") as stream:
        return [name for name in next(csv.reader(stream), []) if name not in COLUMNS]


def read_rows(path: Path, *, any_columns: bool = False) -> list[tuple[int, Track | AnnotationError]]:
    """Read every row of an annotations.csv: its line and its track, or what is wrong with it.

    Parameters
    ----------
    path
        The file.
    any_columns
        Whether to pass over unknown columns, for who reports them otherwise.

    Raises
    ------
    CorpusError
        If the file is missing, not CSV in UTF-8, has no rows, or lacks or has unknown columns.
    """
    if not path.is_file():
        raise CorpusError(f"{path.parent}: not a corpus, it has no {ANNOTATIONS}")
    rows: list[tuple[int, Track | AnnotationError]] = []
    seen: set[str] = set()
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream, strict=True)
            names = reader.fieldnames or ()
            missing = {"id", "path"} - set(names)
            if missing:
                raise CorpusError(f"{path}: column {sorted(missing)[0]!r} is missing")
            unknown = [name for name in names if name not in COLUMNS]
            if unknown and not any_columns:
                raise CorpusError(f"{path}: column {unknown[0]!r} is not one of {', '.join(COLUMNS)}")
            for row in reader:
                try:
                    if None in row:
                        raise AnnotationError(f"has more than the {len(names)} cells of the header")
                    track = _track_from_row({name: (value or "").strip() for name, value in row.items()})
                    if track.id in seen:
                        raise AnnotationError(f"track id {track.id!r} appears twice")
                except AnnotationError as error:
                    rows.append((reader.line_num, AnnotationError(error.problem, path, reader.line_num)))
                else:
                    seen.add(track.id)
                    rows.append((reader.line_num, track))
    except UnicodeDecodeError:
        raise CorpusError(f"{path}: is not text in UTF-8") from None
    except csv.Error as error:
        raise CorpusError(f"{path}: is not CSV: {error}") from None
    if not rows:
        raise CorpusError(f"{path}: no tracks")
    return rows


def _track_from_row(row: dict[str, str]) -> Track:
    return Track(
        id=row["id"],
        path=row["path"],
        split=row.get("split") or "train",
        genre=row.get("genre", ""),
        tempo_bpm=parse_tempo_bpm(row["tempo_bpm"]) if row.get("tempo_bpm") else None,
        time_signature=TimeSignature.parse(row["time_signature"]) if row.get("time_signature") else None,
        key=Key.parse(row["key"]) if row.get("key") else None,
        source=row.get("source", ""),
        licence=row.get("licence", ""),
        sha256=row.get("sha256", ""),
    )


def write_annotations(root: Path, tracks: Iterable[Track]) -> None:
    """Write `root`/annotations.csv, atomically, rows in the order of their ids."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for track in sorted(tracks, key=lambda track: track.id):
        values = [getattr(track, name) for name in COLUMNS]
        writer.writerow(
            "" if value is None else f"{value:g}" if isinstance(value, float) else value for value in values
        )
    write_text(root / ANNOTATIONS, text.getvalue())


def _read_pairs(path: Path, tracks: Mapping[str, Track]) -> tuple[Pair, ...]:
    pairs: list[Pair] = []
    seen: set[str] = set()
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream, strict=True)
            if set(reader.fieldnames or ()) != set(PAIR_COLUMNS):
                raise CorpusError(f"{path}: the columns must be {', '.join(PAIR_COLUMNS)}")
            for row in reader:
                try:
                    pair = Pair(**{name: (row[name] or "").strip() for name in PAIR_COLUMNS})
                    _check_pair(pair, tracks, seen)
                except AnnotationError as error:
                    raise AnnotationError(error.problem, path, reader.line_num) from None
                seen |= {pair.take, pair.beat}
                pairs.append(pair)
    except UnicodeDecodeError:
        raise CorpusError(f"{path}: is not text in UTF-8") from None
    except csv.Error as error:
        raise CorpusError(f"{path}: is not CSV: {error}") from None
    return tuple(pairs)


def _check_pair(pair: Pair, tracks: Mapping[str, Track], seen: Collection[str]) -> None:
    for name in (pair.take, pair.beat):
        if name not in tracks:
            raise AnnotationError(f"there is no track {name!r} in {ANNOTATIONS}")
        if name in seen:
            raise AnnotationError(f"track {name} is in two pairs")
    if tracks[pair.take].split != tracks[pair.beat].split:
        raise AnnotationError(f"tracks {pair.take} and {pair.beat} are a pair and in two splits")


def write_pairs(root: Path, pairs: Iterable[Pair]) -> None:
    """Write `root`/pairs.csv, atomically, in the order of the takes' ids."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(PAIR_COLUMNS)
    writer.writerows((pair.take, pair.beat, pair.parts) for pair in sorted(pairs, key=lambda pair: pair.take))
    write_text(root / PAIRS, text.getvalue())


def event_lines(path: Path) -> list[tuple[int, list[str]]]:
    """Split an event file into (line number, fields); blank lines and comments are left out.

    Raises
    ------
    AnnotationError
        If the file is not text in UTF-8.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise AnnotationError("is not text in UTF-8", path) from None
    lines = ((number, line.split()) for number, line in enumerate(text.splitlines(), start=1))
    return [(number, words) for number, words in lines if words and not words[0].startswith("#")]


def _number(word: str, path: Path, line: int) -> float:
    try:
        value = float(word)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise AnnotationError(f"{word!r} is not a number", path, line)
    return value


def _blame(error: AnnotationError, times_s: list[float], path: Path, lines: list[int]) -> AnnotationError:
    """Give an error about a sequence the line of the first time out of order, where that is what is wrong."""
    steps = np.diff(times_s)
    worst = np.flatnonzero((steps <= 0) if "increase" in error.problem else (steps < 0))
    return AnnotationError(error.problem, path, lines[int(worst[0]) + 1] if worst.size else lines[0])


def read_beats(path: Path) -> Beats:
    """Read a `.beats` file: "time position" or "time" on each line.

    Raises
    ------
    AnnotationError
        Naming file and line: not numbers, out of order, or positions on some lines only.
    """
    lines = event_lines(path)
    times_s: list[float] = []
    positions: list[int] = []
    for line, words in lines:
        times_s.append(_number(words[0], path, line))
        if len(words) > 1:
            position = _number(words[1], path, line)
            if position != int(position):
                raise AnnotationError(f"position {words[1]!r} is not a whole number", path, line)
            if position < 1:
                raise AnnotationError(f"position {words[1]!r} is less than 1", path, line)
            positions.append(int(position))
        if positions and len(positions) != len(times_s):
            raise AnnotationError("some beats have a position in the bar and others have none", path, line)
    try:
        return Beats(np.array(times_s), np.array(positions) if positions else None)
    except AnnotationError as error:
        raise _blame(error, times_s, path, [line for line, _ in lines]) from None


def read_onsets(path: Path) -> Onsets:
    """Read an `.onsets` file: "time class velocity", the last one or two optional, on each line.

    Raises
    ------
    AnnotationError
        Naming file and line: not numbers, out of order, an unknown class, or a velocity outside (0, 1].
    """
    lines = event_lines(path)
    times_s: list[float] = []
    classes: list[str] = []
    velocities: list[float] = []
    for line, words in lines:
        times_s.append(_number(words[0], path, line))
        classes.append(words[1] if len(words) > 1 else NOTE)
        velocities.append(_number(words[2], path, line) if len(words) > 2 else 1.0)
        try:
            Onsets(np.array(times_s[-1:]), classes[-1:], np.array(velocities[-1:]))
        except AnnotationError as error:
            raise AnnotationError(error.problem, path, line) from None
    try:
        return Onsets(np.array(times_s), classes, np.array(velocities))
    except AnnotationError as error:
        raise _blame(error, times_s, path, [line for line, _ in lines]) from None


def write_beats(path: Path, beats: Beats) -> None:
    """Write a `.beats` file, atomically; times to the microsecond."""
    positions = [""] * len(beats) if beats.positions is None else [f"\t{position}" for position in beats.positions]
    rows = zip(beats.times_s, positions, strict=True)
    write_text(path, "".join(f"{time_s:.6f}{position}\n" for time_s, position in rows))


def write_onsets(path: Path, onsets: Onsets) -> None:
    """Write an `.onsets` file, atomically; times to the microsecond, velocities to 1/1000."""
    rows = zip(onsets.times_s, onsets.classes, onsets.velocities, strict=True)
    write_text(path, "".join(f"{time_s:.6f}\t{name}\t{max(velocity, 0.001):.3f}\n" for time_s, name, velocity in rows))
