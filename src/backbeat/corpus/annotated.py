"""Audio with what is known about it, wherever it lies: what every importer yields and evaluation reads.

A `Corpus` is a folder in the contract's form; an `AnnotatedTrack` is one recording with its annotations already read,
whatever form they had. `annotated_tracks` turns the first into the second, `store` the second into the first.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from backbeat.corpus.contract import (
    Corpus,
    Track,
    check_target,
    new_corpus,
    read_corpus,
    write_annotations,
    write_beats,
    write_onsets,
)
from backbeat.errors import CorpusError
from backbeat.files import sha256_file
from backbeat.music import Beats, Key, Onsets, TimeSignature

#: Whether audio enters a corpus as a hard link (a copy where the file system cannot) or as a copy.
CopyMode = Literal["link", "copy"]


@dataclass(frozen=True, eq=False)
class AnnotatedTrack:
    """A recording and its annotations, read.

    Parameters
    ----------
    id
        Unique among the tracks it comes with; fit to name a file, as in `Track`.
    audio_path
        The audio, where it lies.
    beats, onsets
        None where the recording is not annotated with them.
    genre, split, source, licence
        As in `Track`; empty where not known.
    tempo_bpm, time_signature, key
        As in `Track`; None where not known.
    """

    id: str
    audio_path: Path
    beats: Beats | None = None
    onsets: Onsets | None = None
    genre: str = ""
    tempo_bpm: float | None = None
    time_signature: TimeSignature | None = None
    key: Key | None = None
    split: str = ""
    source: str = ""
    licence: str = ""

    @property
    def is_annotated(self) -> bool:
        """Whether there is anything to train on or to score against."""
        return self.beats is not None or self.onsets is not None or bool(self.genre)


def annotated_tracks(corpus: Corpus, *splits: str) -> Iterator[AnnotatedTrack]:
    """Yield the tracks of a corpus with their annotations, in its order; all splits when none is named.

    Raises
    ------
    AnnotationError
        If an event file cannot be true, naming file and line.
    """
    for track in corpus.tracks:
        if splits and track.split not in splits:
            continue
        yield AnnotatedTrack(
            id=track.id,
            audio_path=corpus.audio_path(track),
            beats=corpus.beats(track),
            onsets=corpus.onsets(track),
            genre=track.genre,
            tempo_bpm=track.tempo_bpm,
            time_signature=track.time_signature,
            key=track.key,
            split=track.split,
            source=track.source,
            licence=track.licence,
        )


def place(source: Path, target: Path, copy: CopyMode) -> None:
    """Put the file `source` at `target`, as a hard link where `copy` says so and the file system can."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if copy == "link":
        try:
            # The link is to the file itself; a symbolic link in the user's folder may be relative.
            os.link(source.resolve(), target)
        except OSError:
            pass
        else:
            return
    shutil.copyfile(source, target)


def store(root: Path, tracks: Iterable[AnnotatedTrack], *, copy: CopyMode = "link") -> Corpus:
    """Make a corpus at `root` of these tracks: audio/ID.SUFFIX, the events beside it, annotations.csv.

    The corpus appears whole or not at all; one that was at `root` is replaced.

    Raises
    ------
    CorpusError
        If there are no tracks, an id appears twice, or audio is missing or cannot be read.
    """
    rows: list[Track] = []
    seen: set[str] = set()
    with new_corpus(root) as folder:
        for track in tracks:
            check_target(root, track.audio_path)
            # File names that differ in case only are one file on some systems.
            if track.id.casefold() in seen:
                raise CorpusError(f"{track.audio_path}: track id {track.id!r} appears twice")
            seen.add(track.id.casefold())
            path = f"audio/{track.id}{track.audio_path.suffix.lower()}"
            audio = folder / path
            try:
                place(track.audio_path, audio, copy)
                digest = sha256_file(audio)
            except OSError as error:
                raise CorpusError(f"{track.audio_path}: cannot be taken into the corpus: {error.strerror}") from None
            if track.beats is not None:
                write_beats(audio.with_suffix(".beats"), track.beats)
            if track.onsets is not None:
                write_onsets(audio.with_suffix(".onsets"), track.onsets)
            rows.append(
                Track(
                    id=track.id,
                    path=path,
                    split=track.split or "train",
                    genre=track.genre,
                    tempo_bpm=track.tempo_bpm,
                    time_signature=track.time_signature,
                    key=track.key,
                    source=track.source,
                    licence=track.licence,
                    sha256=digest,
                )
            )
        if not rows:
            raise CorpusError(f"{root}: no tracks to make a corpus of")
        write_annotations(folder, rows)
    return read_corpus(root)
