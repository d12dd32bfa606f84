"""The user's own audio as a corpus: a folder with annotations.csv, a genre tree, event files or JAMS beside the audio.

What is found for a track, in this order (the first that says something is used):

1. `NAME.beats` and `NAME.onsets` beside `NAME.wav`; also `.beats.txt`, `.beats.csv`, `.onsets.txt`, `.onsets.csv`,
   and a plain `NAME.txt` or `NAME.csv` whose lines are times;
2. `NAME.jams`: beats, onsets, tempo, key, genre;
3. the folder: in `SOURCE/GENRE/...` the first folder names the genre.

The user's files are never changed.
"""

from __future__ import annotations

import csv
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from backbeat.audio import AUDIO_SUFFIXES
from backbeat.corpus.annotated import AnnotatedTrack, CopyMode, place, store
from backbeat.corpus.contract import (
    ANNOTATIONS,
    Corpus,
    Track,
    check_target,
    new_corpus,
    read_corpus,
    write_annotations,
)
from backbeat.corpus.event_text import guess_kind, read_beat_text, read_onset_text
from backbeat.corpus.jams_files import JamsContents, read_jams
from backbeat.corpus.splits import Shares, assign_splits
from backbeat.errors import AnnotationError, ConfigError, CorpusError
from backbeat.files import sha256_file

#: First folders that say what the files are, not their genre.
NOT_A_GENRE = frozenset({"audio", "tracks", "music", "songs", "wav", "flac", "mp3"})

_BEAT_ENDINGS = (".beats", ".beat", ".beats.txt", ".beats.csv")
_ONSET_ENDINGS = (".onsets", ".onset", ".onsets.txt", ".onsets.csv")
_PLAIN_ENDINGS = (".txt", ".csv")


def scan_folder(source: Path, *, group_pattern: str = "", genre_folders: bool = True) -> list[AnnotatedTrack]:
    """Read the annotated audio under `source` in place, without splits; in the order of the paths.

    Parameters
    ----------
    source
        A folder without annotations.csv.
    group_pattern
        A regular expression matched at the start of the audio's name; what it matches (its first group, if it has
        one) is the track's source, which is never divided between splits: ``[^_]+`` takes what is before the first
        "_". Without a pattern, or without a match, each file stands alone.
    genre_folders
        Whether the first folder under `source` names the genre.

    Raises
    ------
    CorpusError
        If the folder is missing, holds no audio, or holds an annotation without its audio.
    AnnotationError
        If an annotation cannot be read or cannot be true, naming file and line.
    ConfigError
        If the pattern is not a regular expression, or matches nothing.
    """
    return _scan(source, group_pattern, genre_folders, exclude=None)


def scan_with_errors(source: Path) -> tuple[list[AnnotatedTrack], list[AnnotationError]]:
    """Read a folder as `scan_folder` does, but go on past annotations that cannot be true.

    Returns
    -------
    Every track, without the annotations of those that have a wrong one; and what is wrong, naming file and line.

    Raises
    ------
    CorpusError
        If the folder is missing or holds no audio.
    """
    errors: list[AnnotationError] = []
    return _scan(source, "", True, exclude=None, errors=errors), errors


def import_folder(
    source: Path,
    root: Path,
    *,
    shares: Shares | None = None,
    seed: int = 0,
    group_pattern: str = "",
    genre_folders: bool = True,
    licence: str = "",
    copy: CopyMode = "link",
) -> Corpus:
    """Make a corpus at `root` from the audio under `source`.

    With an annotations.csv, its rows are checked and taken as they are: missing checksums are filled in, and the tracks
    are divided only when it has no column `split`. Without one, see `scan_folder`; tracks are divided by genre.

    Parameters
    ----------
    shares
        Parts of the tracks for train, valid and test; 0.7, 0.15 and 0.15 when left out.
    seed
        Of the division.
    licence
        Written to every row that names none.
    copy
        `link` makes hard links where the file system can, `copy` always copies.

    Raises
    ------
    CorpusError, AnnotationError, ConfigError
        As `scan_folder` and `check_target`, and where a row names audio that is not there.
    """
    check_target(root, source)
    shares = shares or Shares()
    if (source / ANNOTATIONS).is_file():
        return _take_corpus(source, root, shares, seed, licence, copy)
    tracks = _scan(source, group_pattern, genre_folders, exclude=root)
    splits = assign_splits([t.genre for t in tracks], [t.source or t.id for t in tracks], shares, seed)
    divided = (
        replace(track, split=split, licence=track.licence or licence)
        for track, split in zip(tracks, splits, strict=True)
    )
    return store(root, divided, copy=copy)


def _scan(
    source: Path,
    group_pattern: str,
    genre_folders: bool,
    exclude: Path | None,
    errors: list[AnnotationError] | None = None,
) -> list[AnnotatedTrack]:
    """Scan a folder; wrong annotations are raised, or gathered in `errors` where that is given."""
    if not source.is_dir():
        raise CorpusError(f"{source}: is not a folder")
    files = sorted(_files(source, exclude))
    if not files:
        raise CorpusError(f"{source}: is empty")
    audio = [path for path in files if path.suffix.lower() in AUDIO_SUFFIXES]
    stems = Counter(path.with_suffix("") for path in audio)
    for path in files:
        stem = _annotated_stem(path)
        if stem is not None and stem not in stems:
            if errors is None:
                raise CorpusError(f"{path}: has no audio of the same name beside it")
            errors.append(AnnotationError("has no audio of the same name beside it", path))
    if not audio:
        raise CorpusError(f"{source}: holds no audio (no file ends in {', '.join(sorted(AUDIO_SUFFIXES))})")

    tracks: list[AnnotatedTrack] = []
    ids = track_ids([path.relative_to(source) for path in audio])
    for path, track_id, named in zip(audio, ids, groups_of(audio, group_pattern), strict=True):
        # One piece in two formats has one stem: its files belong together.
        group = path.relative_to(source).with_suffix("").as_posix() if stems[path.with_suffix("")] > 1 else ""
        group = named or group
        genre = _genre_of(path, source) if genre_folders else ""
        try:
            tracks.append(_annotated(path, track_id, group, genre))
        except AnnotationError as error:
            if errors is None:
                raise
            errors.append(error)
            tracks.append(AnnotatedTrack(track_id, path, genre=genre, source=group))
    return tracks


def groups_of(paths: Iterable[Path], group_pattern: str) -> list[str]:
    """Return each path's group by its name, "" without one; ConfigError when it is no pattern, or matches none."""
    try:
        pattern = re.compile(group_pattern)
    except re.error as error:
        raise ConfigError(f"{group_pattern!r} is not a pattern for groups: {error}") from None
    matches = [pattern.match(path.name) for path in paths]
    if matches and not any(matches):
        raise ConfigError(f"the pattern for groups, {group_pattern!r}, is found at the beginning of no name")
    return [(match.group(1 if pattern.groups else 0) or "") if match else "" for match in matches]


def _files(source: Path, exclude: Path | None) -> Iterator[Path]:
    """Yield the files under `source`, without hidden ones and without those of the corpus being made."""
    excluded = exclude.resolve() if exclude else None
    for folder, folders, names in os.walk(source):
        here = Path(folder)
        folders[:] = [n for n in folders if not n.startswith(".") and (here / n).resolve() != excluded]
        yield from (here / name for name in names if not name.startswith("."))


def _annotated_stem(path: Path) -> Path | None:
    """For a file that can only be an annotation: the path of its audio without suffix."""
    name = path.name.lower()
    for ending in (*_BEAT_ENDINGS, *_ONSET_ENDINGS, ".jams"):
        if name.endswith(ending):
            return path.with_name(path.name[: -len(ending)])
    return None


def _genre_of(path: Path, source: Path) -> str:
    folders = path.relative_to(source).parts[:-1]
    return folders[0] if folders and folders[0].lower() not in NOT_A_GENRE else ""


def track_ids(paths: list[Path]) -> list[str]:
    """Name each relative path: by its stem, or by its folders too where two stems are the same, or a number at last."""
    stems = [slug(path.stem) for path in paths]
    alike = Counter(stem.casefold() for stem in stems)
    names = [
        stem if alike[stem.casefold()] == 1 else slug("-".join((*path.parts[:-1], path.stem)))
        for stem, path in zip(stems, paths, strict=True)
    ]
    taken: set[str] = set()
    ids: list[str] = []
    for name in names:
        candidate, number = name, 2
        while candidate.casefold() in taken:
            candidate, number = f"{name}-{number}", number + 1
        taken.add(candidate.casefold())
        ids.append(candidate)
    return ids


def slug(text: str) -> str:
    """Turn any text to something that may be a track id."""
    return "".join(char if char.isalnum() or char in "._-" else "_" for char in text).lstrip(".") or "track"


def _beside(audio: Path, endings: tuple[str, ...]) -> Path | None:
    stem = audio.with_suffix("").name
    return next((path for ending in endings if (path := audio.with_name(stem + ending)).is_file()), None)


def _annotated(audio: Path, track_id: str, group: str, folder_genre: str) -> AnnotatedTrack:
    beats_path, onsets_path = _beside(audio, _BEAT_ENDINGS), _beside(audio, _ONSET_ENDINGS)
    for ending in _PLAIN_ENDINGS:
        plain = _beside(audio, (ending,))
        kind = guess_kind(plain) if plain else None
        if kind == "beats":
            beats_path = beats_path or plain
        elif kind == "onsets":
            onsets_path = onsets_path or plain
    jams_path = _beside(audio, (".jams",))
    said = read_jams(jams_path) if jams_path else JamsContents()
    return AnnotatedTrack(
        id=track_id,
        audio_path=audio,
        beats=read_beat_text(beats_path) if beats_path else said.beats,
        onsets=read_onset_text(onsets_path) if onsets_path else said.onsets,
        genre=said.genre or folder_genre,
        tempo_bpm=said.tempo_bpm,
        time_signature=said.time_signature,
        key=said.key,
        source=group,
    )


def _take_corpus(source: Path, root: Path, shares: Shares, seed: int, licence: str, copy: CopyMode) -> Corpus:
    """Take a folder that is already in the contract's form: rows as they are, files under the same paths."""
    corpus = read_corpus(source)
    with (source / ANNOTATIONS).open(encoding="utf-8-sig", newline="") as stream:
        has_splits = "split" in next(csv.reader(stream))
    splits = [track.split for track in corpus.tracks]
    if not has_splits:
        tracks = corpus.tracks
        splits = assign_splits([t.genre for t in tracks], [t.group for t in tracks], shares, seed)
    rows: list[Track] = []
    placed: set[Path] = set()
    with new_corpus(root, source) as folder:
        for track, split in zip(corpus.tracks, splits, strict=True):
            audio = corpus.audio_path(track)
            if not audio.is_file():
                raise CorpusError(f"{audio}: track {track.id} has no audio there")
            # Reading them is the check: a wrong line stops the import here, with its name and number.
            corpus.beats(track)
            corpus.onsets(track)
            stems = source / "stems" / track.id
            extra = sorted(path for path in stems.rglob("*") if path.is_file()) if stems.is_dir() else []
            for path in (audio, corpus.beats_path(track), corpus.onsets_path(track), *extra):
                if path.is_file() and path not in placed:
                    place(path, folder / path.relative_to(source), copy)
                    placed.add(path)
            digest = track.sha256 or sha256_file(audio)
            rows.append(replace(track, split=split, sha256=digest, licence=track.licence or licence))
        write_annotations(folder, rows)
    return read_corpus(root)
