"""Recordings into a catalogue: described, told from those that are there, and kept."""

from __future__ import annotations

import re
import shutil
import time
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

from backbeat.analysis.descriptors import Descriptors, KeyGuess
from backbeat.errors import AudioError, CatalogueError
from backbeat.files import atomic_path, sha256_file
from backbeat.music import Key, TimeSignature
from backbeat.recommend.catalogue.recordings import agrees
from backbeat.recommend.catalogue.rows import AUDIO
from backbeat.recommend.catalogue.store import Catalogue
from backbeat.recommend.items import Item, Kind

if TYPE_CHECKING:
    from backbeat.analysis.describing import Described

OnDuplicate = Literal["skip", "error", "add"]
#: Called with the file that is begun and how many are done.
Progress = Callable[[Path, int], None]
_LONGEST_ID = 100


class Describes(Protocol):
    """What is asked of `backbeat.analysis.describing.Describer`."""

    def describe(self, path: Path | str) -> Described:
        """Describe a file; AudioError where it cannot be heard."""
        ...


@dataclass(frozen=True)
class Known:
    """What is known of a recording beforehand; None and empty for what is to be heard or read from the file's tags."""

    id: str = ""
    title: str = ""
    label: str = ""
    source: str = ""
    licence: str = ""
    tempo_bpm: float | None = None
    time_signature: TimeSignature | None = None
    key: Key | None = None


@dataclass(frozen=True)
class Duplicate:
    """A file that was not added, because its recording is there: the item, and how that is known."""

    path: Path
    id: str
    reason: str


@dataclass(frozen=True)
class Added:
    """What became of files: the items added, those that were there already, and those that failed, with causes."""

    items: tuple[Item, ...]
    duplicates: tuple[Duplicate, ...]
    failed: tuple[tuple[Path, str], ...]


def add_files(
    catalogue: Catalogue,
    paths: Sequence[Path],
    describer: Describes,
    *,
    kind: Kind,
    label: str | None = None,
    keep_audio: bool = False,
    on_duplicate: OnDuplicate = "skip",
    known: Mapping[Path, Known] | None = None,
    progress: Progress = lambda path, done: None,
) -> Added:
    """Describe files and keep them, one after the other: what was done stays if the next is broken off.

    Parameters
    ----------
    catalogue, paths
        Where to, and which files.
    describer
        Listens.
    kind
        What they are.
    label
        Of all; that of the genre model where it is None and none is known.
    keep_audio
        Whether the catalogue keeps a copy of each file.
    on_duplicate
        What to do with a recording of this kind that is there already: leave it out, stop, or add it all the same.
    known
        What is known of files.
    progress
        Is told of each file before it is heard.

    Raises
    ------
    CatalogueError
        If a recording is there already and `on_duplicate` is "error", or the catalogue cannot be used.
    """
    items: list[Item] = []
    duplicates: list[Duplicate] = []
    failed: list[tuple[Path, str]] = []
    for done, path in enumerate(paths):
        progress(path, done)
        told = (known or {}).get(path, Known())
        told = told if label is None else replace(told, label=label)
        try:
            found = _add(catalogue, path, describer, kind, told, keep_audio, on_duplicate)
        except AudioError as error:
            failed.append((path, error.cause))
        else:
            if isinstance(found, Item):
                items.append(found)
            else:
                duplicates.append(found)
    return Added(tuple(items), tuple(duplicates), tuple(failed))


def _add(
    catalogue: Catalogue,
    path: Path,
    describer: Describes,
    kind: Kind,
    known: Known,
    keep_audio: bool,
    on_duplicate: OnDuplicate,
) -> Item | Duplicate:
    if on_duplicate != "add" and path.is_file() and (same := same_file(catalogue, path, kind)):
        return _refused(same, on_duplicate)
    described = describer.describe(path)
    if on_duplicate != "add" and (same := same_sound(catalogue, path, described, kind)):
        return _refused(same, on_duplicate)
    item = _item(catalogue, path, described, kind, known)
    with kept(catalogue, item, path) if keep_audio else _nothing(item) as whole:
        catalogue.add(whole, described.vectors, described.fingerprint)
    return whole


def _refused(same: Duplicate, on_duplicate: OnDuplicate) -> Duplicate:
    if on_duplicate == "error":
        raise CatalogueError(f"{same.path}: is in the catalogue already, as {same.id} ({same.reason})")
    return same


def same_file(catalogue: Catalogue, path: Path, kind: Kind) -> Duplicate | None:
    """Return the item of a kind that was made of the same file, byte for byte."""
    ids = [id_ for id_ in catalogue.of_file(sha256_file(path)) if catalogue.get(id_).kind == kind]
    return Duplicate(path, ids[0], "the same file") if ids else None


def same_sound(catalogue: Catalogue, path: Path, described: Described, kind: Kind) -> Duplicate | None:
    """Return the item of a kind that is the same recording, in another format or cut a little otherwise, say."""
    if not described.fingerprint:
        return None
    for match in catalogue.same_recording(described.fingerprint):
        other = catalogue.get(match.id)
        if other.kind == kind and agrees(match.overlap_s, described.analysis.duration_s, other.duration_s):
            return Duplicate(path, other.id, f"the same recording: {match.score:.0%} of its fingerprint")
    return None


def _item(catalogue: Catalogue, path: Path, described: Described, kind: Kind, known: Known) -> Item:
    from backbeat.audio import probe

    tags = probe(path).tags
    title = known.title or tags.get("title", "").strip() or path.stem
    return Item(
        id=known.id or free_id(catalogue, title, described.sha256),
        kind=kind,
        title=title,
        artist=tags.get("artist", "").strip(),
        label=known.label or described.analysis.genre.label,
        path=str(path.absolute()),
        sha256=described.sha256,
        duration_s=described.analysis.duration_s,
        source=known.source,
        licence=known.licence,
        added_at=time.time(),
        descriptors=_corrected(described.descriptors, known),
    )


def _corrected(heard: Descriptors, known: Known) -> Descriptors:
    """Return descriptors in which what is known goes before what was heard."""
    changes: dict[str, object] = {}
    if known.tempo_bpm is not None:
        changes["tempo_bpm"] = known.tempo_bpm
    if known.time_signature is not None:
        changes["time_signature"] = str(known.time_signature)
    if known.key is not None:
        changes["key"] = KeyGuess(known.key.tonic, known.key.mode, 1.0)
        changes["camelot"] = known.key.camelot
    return replace(heard, **changes)  # type: ignore[arg-type]


def free_id(catalogue: Catalogue, title: str, sha256: str) -> str:
    """Return an id that no item has, made of a title: "Über uns (live)" becomes "uber-uns-live"."""
    plain = unicodedata.normalize("NFKD", title).encode("ascii", "ignore").decode().lower()
    words = re.sub(r"[^a-z0-9._]+", "-", plain).strip("-._")[:_LONGEST_ID].strip("-._") or sha256[:12]
    found, number = words, 2
    while catalogue.has(found):
        found, number = f"{words}-{number}", number + 1
    return found


@contextmanager
def kept(catalogue: Catalogue, item: Item, path: Path) -> Iterator[Item]:
    """Copy the audio of an item into the catalogue's folder, for good if the block ends well."""
    copy = catalogue.place / AUDIO / f"{item.id}{path.suffix.lower()}"
    with atomic_path(copy) as temporary:
        shutil.copyfile(path, temporary)
    try:
        yield replace(item, path=str(copy))
    except BaseException:
        copy.unlink(missing_ok=True)
        raise


@contextmanager
def _nothing(item: Item) -> Iterator[Item]:
    yield item
