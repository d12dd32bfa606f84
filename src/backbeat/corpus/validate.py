"""Holding a corpus to what it claims, and telling all that is wrong with it, file by file and line by line.

An *error* is what cannot be true or would make scores worthless; it stops the pipeline. A *warning* is what is
probably a mistake, or surprising enough to look at. `validate` judges the rows, the splits and the audio;
`validate_events` judges the event files of a track.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from backbeat.audio import probe
from backbeat.corpus.contract import (
    ANNOTATIONS,
    COLUMNS,
    SPLITS,
    Corpus,
    Pair,
    Track,
    read_beats,
    read_onsets,
    read_rows,
    unknown_columns,
)
from backbeat.corpus.problems import ERROR, WARNING, Level, Problem
from backbeat.corpus.splits import Shares, assign_splits
from backbeat.corpus.validate_events import check_beats, check_onsets, check_row_against_beats
from backbeat.errors import AnnotationError, AudioError, CorpusError
from backbeat.files import sha256_file

__all__ = ["ERROR", "WARNING", "Problem", "ValidationReport", "validate", "validate_folder"]


@dataclass(frozen=True)
class ValidationReport:
    """What was looked at, and everything that was found.

    Parameters
    ----------
    name
        The corpus's name.
    problems
        In the order of file and line; errors and warnings together.
    counts
        How much there is: `tracks`, `seconds` (None where the audio was not opened), `with_beats`, `with_bars`,
        `with_onsets`, `beats`, `onsets`; and by name `splits`, `genres` (split to number for each), `onset_classes`.
    """

    name: str
    problems: tuple[Problem, ...]
    counts: dict[str, Any] = field(default_factory=dict)

    @property
    def errors(self) -> tuple[Problem, ...]:
        """The problems that stop the pipeline."""
        return tuple(problem for problem in self.problems if problem.level == ERROR)

    @property
    def warnings(self) -> tuple[Problem, ...]:
        """The problems worth a look."""
        return tuple(problem for problem in self.problems if problem.level == WARNING)

    @property
    def ok(self) -> bool:
        """True without errors."""
        return not self.errors

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain values, fit for JSON."""
        return {
            "name": self.name,
            "ok": self.ok,
            "errors": len(self.errors),
            "warnings": len(self.warnings),
            "counts": self.counts,
            "problems": [problem.to_dict() for problem in self.problems],
        }

    def raise_for_errors(self) -> None:
        """Raise CorpusError if there are errors: their number and the first, on one line."""
        if self.errors:
            number = f"{len(self.errors)} error{'s' if len(self.errors) > 1 else ''}"
            raise CorpusError(f"corpus {self.name} has {number}, first {self.errors[0]}")


def validate_folder(root: Path, *, check_audio: bool = True) -> ValidationReport:
    """Validate the corpus at `root`, impossible rows of its annotations.csv included.

    A folder without annotations.csv is looked at as `folder.import_folder` would take it, and left as it is.

    Raises
    ------
    CorpusError
        If the folder is missing or holds no audio, or its annotations.csv cannot be read at all.
    """
    if not (root / ANNOTATIONS).is_file():
        return _validate_scan(root, check_audio)
    rows = read_rows(root / ANNOTATIONS, any_columns=True)
    wrong = [
        Problem(ERROR, str(root / ANNOTATIONS), f"column {name!r} is not one of {', '.join(COLUMNS)}", line=1)
        for name in unknown_columns(root / ANNOTATIONS)
    ]
    wrong += [
        Problem(ERROR, row.path or "", row.problem, line=line) for line, row in rows if isinstance(row, AnnotationError)
    ]
    tracks = tuple(row for _, row in rows if isinstance(row, Track))
    lines = {row.id: line for line, row in rows if isinstance(row, Track)}
    return _validate(Corpus(root, tracks), lines, wrong, check_audio)


def _validate_scan(source: Path, check_audio: bool) -> ValidationReport:
    """Validate audio with annotations beside it, in the forms that `folder` reads."""
    from backbeat.corpus.folder import scan_with_errors

    found, errors = scan_with_errors(source)
    splits = assign_splits([one.genre for one in found], [one.source or one.id for one in found], Shares(), 0)
    tracks = tuple(
        Track(
            id=one.id,
            path=one.audio_path.relative_to(source).as_posix(),
            split=split,
            genre=one.genre,
            tempo_bpm=one.tempo_bpm,
            time_signature=one.time_signature,
            key=one.key,
            source=one.source,
        )
        for one, split in zip(found, splits, strict=True)
    )
    corpus = Corpus(source, tracks)
    # Judged already: what cannot be read at all, and what is written more freely than in a corpus.
    judged = {Path(error.path) for error in errors if error.path is not None}
    for track in tracks:
        for path, reader in ((corpus.beats_path(track), read_beats), (corpus.onsets_path(track), read_onsets)):
            try:
                if path.is_file():
                    reader(path)
            except AnnotationError:
                judged.add(path)
    wrong = [Problem(ERROR, str(error.path), error.problem, line=error.line) for error in errors]
    return _validate(corpus, {}, wrong, check_audio, judged)


def validate(corpus: Corpus, *, check_audio: bool = True) -> ValidationReport:
    """Look for everything that is wrong with a corpus.

    Parameters
    ----------
    corpus
        A corpus as read from its folder.
    check_audio
        Whether to open and hash the audio; without, only its presence is checked, and events past its end are not
        found.

    Returns
    -------
    ValidationReport
        All problems, never only the first; `ok` when none is an error.
    """
    lines: dict[str, int] = {}
    if (corpus.root / ANNOTATIONS).is_file():
        lines = {row.id: line for line, row in read_rows(corpus.root / ANNOTATIONS) if isinstance(row, Track)}
    return _validate(corpus, lines, [], check_audio)


def _validate(
    corpus: Corpus, lines: dict[str, int], found: list[Problem], check_audio: bool, judged: Collection[Path] = ()
) -> ValidationReport:
    """Gather what is wrong, beside what was `found`; event files that were `judged` are not looked at."""
    annotations = corpus.root / ANNOTATIONS
    where = _Rows(str(annotations if annotations.is_file() else corpus.root), lines)
    pairs: tuple[Pair, ...] = ()
    try:
        pairs = corpus.pairs()
    except AnnotationError as error:
        found = [*found, Problem(ERROR, str(error.path), error.problem, line=error.line)]
    # Halves of songs are no examples of a genre.
    halves = {name for pair in pairs for name in (pair.take, pair.beat)}
    whole = tuple(track for track in corpus.tracks if track.id not in halves)
    problems = [*found, *_check_paths(corpus.tracks, where), *_check_genres(whole, where)]
    problems += [*_check_splits(corpus.tracks, where)]
    counts = _Counts()
    digests: dict[str, str] = {}
    for track in corpus.tracks:
        duration_s, audio_problems = _check_audio(corpus, track, where, digests, check_audio)
        problems += audio_problems
        beats = onsets = None
        if corpus.beats_path(track) not in judged:
            beats, beat_problems = check_beats(corpus.beats_path(track), track.id, duration_s)
            problems += beat_problems
        if corpus.onsets_path(track) not in judged:
            onsets, onset_problems = check_onsets(corpus.onsets_path(track), track.id, duration_s)
            problems += onset_problems
        if beats is not None:
            problems += check_row_against_beats(track, beats, where.path, where.line(track))
        counts.add(track, duration_s, beats, onsets)
    problems += _check_copies(corpus.tracks, digests, where)
    ordered = sorted(problems, key=lambda one: (one.path != where.path, one.path, one.line or 0, one.message))
    return ValidationReport(corpus.name, tuple(ordered), counts.to_dict(check_audio))


@dataclass(frozen=True)
class _Rows:
    """Where the rows of annotations.csv are, to name them in problems."""

    path: str
    lines: dict[str, int]

    def line(self, track: Track) -> int | None:
        return self.lines.get(track.id)

    def problem(self, level: Level, track: Track, message: str) -> Problem:
        return Problem(level, self.path, message, line=self.line(track), track_id=track.id)

    def name(self, track: Track) -> str:
        line = self.line(track)
        return f"{track.id} ({track.split}{f', line {line}' if line else ''})"


def _groups(pairs: Iterable[tuple[str, Track]]) -> list[tuple[str, list[Track]]]:
    groups: dict[str, list[Track]] = defaultdict(list)
    for key, track in pairs:
        groups[key].append(track)
    return [(key, members) for key, members in groups.items() if len(members) > 1]


def _check_paths(tracks: tuple[Track, ...], where: _Rows) -> Iterator[Problem]:
    for path, (first, *others) in _groups((track.path, track) for track in tracks):
        for track in others:
            yield where.problem(ERROR, track, f"path {path} is also that of {where.name(first)}")
    stems = _groups((track.path.rpartition(".")[0], track) for track in tracks)
    for stem, (first, *others) in stems:
        for track in others:
            if track.path != first.path:
                message = f"shares its event files {stem}.beats and .onsets with {where.name(first)}"
                yield where.problem(WARNING, track, message)


def _check_splits(tracks: tuple[Track, ...], where: _Rows) -> Iterator[Problem]:
    for group, members in _groups((track.group, track) for track in tracks):
        first = members[0]
        for track in members[1:]:
            if track.split != first.split:
                message = f"source {group!r} is in {track.split} here and in {first.split} with {where.name(first)}"
                yield where.problem(ERROR, track, message)
    sizes = Counter(track.split for track in tracks)
    for split in SPLITS:
        if not sizes[split]:
            level = ERROR if split == "train" else WARNING
            yield Problem(level, where.path, f"split {split} is empty")


def _check_genres(tracks: tuple[Track, ...], where: _Rows) -> Iterator[Problem]:
    if not any(track.genre for track in tracks):
        return
    without = [track for track in tracks if not track.genre]
    if without:
        more = f"; so have {len(without) - 1} more" if len(without) > 1 else ""
        yield where.problem(WARNING, without[0], f"has no genre, though other rows have one{more}")
    in_train = Counter(track.genre for track in tracks if track.split == "train" and track.genre)
    first_of = {track.genre: track for track in reversed(tracks) if track.genre}
    for genre, track in sorted(first_of.items()):
        if in_train[genre] < 2 and in_train:
            number = "no track" if not in_train[genre] else "only one track"
            message = f"genre {genre!r} has {number} in train, too few to learn it from"
            yield where.problem(WARNING if in_train[genre] else ERROR, track, message)
    spellings = defaultdict(set)
    for genre in first_of:
        spellings["".join(char for char in genre.casefold() if char.isalnum())].add(genre)
    for names in spellings.values():
        if len(names) > 1:
            track = first_of[max(names)]
            listed = " and ".join(repr(name) for name in sorted(names))
            yield where.problem(WARNING, track, f"genres {listed} may be one, spelt in two ways")


def _check_audio(
    corpus: Corpus, track: Track, where: _Rows, digests: dict[str, str], open_it: bool
) -> tuple[float | None, list[Problem]]:
    """Check that the audio is there, is what its row says, and opens; note its hash, return its duration."""
    path = corpus.audio_path(track)
    if not path.is_file():
        return None, [where.problem(ERROR, track, f"its audio {track.path} is missing")]
    if not open_it:
        if track.sha256:
            digests[track.id] = track.sha256.lower()
        return None, []
    problems: list[Problem] = []
    digest = sha256_file(path)
    digests[track.id] = digest
    if track.sha256 and track.sha256.lower() != digest:
        message = f"audio {track.path} has changed: its SHA-256 is {digest[:12]}…, the row says {track.sha256[:12]}…"
        problems.append(where.problem(ERROR, track, message))
    try:
        return probe(path).duration_s, problems
    except AudioError as error:
        problems.append(Problem(ERROR, str(path), error.cause, track_id=track.id))
        return None, problems


def _check_copies(tracks: tuple[Track, ...], digests: dict[str, str], where: _Rows) -> Iterator[Problem]:
    for _, (first, *others) in _groups((digests[track.id], track) for track in tracks if track.id in digests):
        for track in others:
            if track.path == first.path:
                continue
            level = ERROR if track.split != first.split else WARNING
            yield where.problem(level, track, f"is the same audio as {where.name(first)}, byte for byte")


class _Counts:
    """Adds up what a corpus holds."""

    def __init__(self) -> None:
        self.totals: Counter[str] = Counter()
        self.seconds = 0.0
        self.splits: Counter[str] = Counter()
        self.genres: dict[str, Counter[str]] = defaultdict(Counter)
        self.onset_classes: Counter[str] = Counter()

    def add(self, track: Track, duration_s: float | None, beats: Any, onsets: Any) -> None:
        self.totals["tracks"] += 1
        self.seconds += duration_s or 0.0
        self.splits[track.split] += 1
        self.genres[track.genre][track.split] += 1
        if beats is not None:
            self.totals["with_beats"] += 1
            self.totals["with_bars"] += beats.positions is not None
            self.totals["beats"] += len(beats)
        if onsets is not None:
            self.totals["with_onsets"] += 1
            self.totals["onsets"] += len(onsets)
            self.onset_classes.update(onsets.classes)

    def to_dict(self, opened: bool) -> dict[str, Any]:
        names = ("tracks", "with_beats", "with_bars", "with_onsets", "beats", "onsets")
        return {
            **{name: self.totals[name] for name in names},
            "seconds": round(self.seconds, 3) if opened else None,
            "splits": {split: self.splits[split] for split in SPLITS},
            "genres": {
                genre: {split: by_split[split] for split in SPLITS} for genre, by_split in sorted(self.genres.items())
            },
            "onset_classes": dict(sorted(self.onset_classes.items())),
        }
