"""Annotated recordings to evaluate on, read where they lie, in whatever form they have."""

from __future__ import annotations

from pathlib import Path

from backbeat.audio import AUDIO_SUFFIXES
from backbeat.corpus.annotated import AnnotatedTrack, annotated_tracks
from backbeat.corpus.contract import ANNOTATIONS, read_corpus
from backbeat.corpus.folder import scan_folder
from backbeat.corpus.mdb_drums import is_mdb_drums, read_mdb_drums
from backbeat.errors import CorpusError

#: Subfolders whose names say what they are for: a folder with one of these is a collection of sets, not a genre tree.
_ROLES = frozenset({"beats", "drums", "onsets", "genre", "genres"})


def evaluation_sets(folder: Path) -> dict[str, list[AnnotatedTrack]]:
    """Find the sets of annotated recordings in `folder`; nothing is copied or written.

    Recognised are: a corpus in the contract's form (its test split, or all of it when it has none); MDB Drums (the
    drums alone, and as `NAME-mix` the full mixes); audio with event files or JAMS beside it; a genre tree; and a folder
    that holds any of these in subfolders, at least one of them called beats, drums, onsets or genre, or being a corpus
    or MDB Drums. Audio about which nothing is known is left out.

    Returns
    -------
    dict
        Name of the set, which is the folder's, to its tracks; in alphabetical order.

    Raises
    ------
    CorpusError
        If there is nothing annotated in `folder`, or an annotation has no audio.
    AnnotationError
        If an annotation cannot be true, naming file and line.
    """
    if not folder.is_dir():
        raise CorpusError(f"{folder}: is not a folder")
    children = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    whole = _is_corpus(folder) or is_mdb_drums(folder)
    collection = any(child.name.lower() in _ROLES or _is_corpus(child) or is_mdb_drums(child) for child in children)
    sets: dict[str, list[AnnotatedTrack]] = {}
    if whole or not collection:
        sets.update(_sets_of(folder))
    else:
        for child in children:
            sets.update(_sets_of(child))
    found = {name: tracks for name, tracks in sorted(sets.items()) if tracks}
    if not found:
        raise CorpusError(f"{folder}: holds no annotated audio to evaluate on")
    return found


def _is_corpus(folder: Path) -> bool:
    return (folder / ANNOTATIONS).is_file()


def _sets_of(folder: Path) -> dict[str, list[AnnotatedTrack]]:
    name = folder.resolve().name
    if _is_corpus(folder):
        corpus = read_corpus(folder)
        return {name: list(annotated_tracks(corpus, "test")) or list(annotated_tracks(corpus))}
    if is_mdb_drums(folder):
        mixes = read_mdb_drums(folder, mix=True) if (folder / "full_mix").is_dir() else []
        return {name: read_mdb_drums(folder), f"{name}-mix": mixes}
    if not any(path.suffix.lower() in AUDIO_SUFFIXES for path in folder.rglob("*")):
        return {}
    return {name: [track for track in scan_folder(folder) if track.is_annotated]}
