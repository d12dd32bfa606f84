"""Whole collections into a catalogue: a corpus, a table of items that were described elsewhere, the starter beats."""

from __future__ import annotations

import csv
import json
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backbeat.analysis.descriptors import Descriptors
from backbeat.errors import AnnotationError, BackbeatError
from backbeat.recommend.catalogue.adding import Added, Describes, Known, OnDuplicate, Progress, add_files
from backbeat.recommend.catalogue.rows import check_vectors
from backbeat.recommend.catalogue.store import Addition, Catalogue
from backbeat.recommend.items import Item, Kind

_TEXTS = ("title", "artist", "label", "path", "sha256", "source", "licence")
_NEEDED = ("id", "kind", "duration_s", "descriptors")
#: Begins the names of columns of vectors; their space follows.
_VECTOR = "vector:"


def add_corpus(
    catalogue: Catalogue,
    root: Path,
    describer: Describes,
    *,
    kind: Kind,
    keep_audio: bool = False,
    on_duplicate: OnDuplicate = "skip",
    progress: Progress = lambda path, done: None,
) -> Added:
    """Keep the tracks of a corpus; annotations go before what is heard. Errors as of `add_files`, and CorpusError."""
    from backbeat.corpus.contract import read_corpus

    corpus = read_corpus(root)
    known = {
        corpus.audio_path(track): Known(
            id="" if catalogue.has(track.id) else track.id,
            title=track.id,
            label=track.genre,
            source=track.source or corpus.name,
            licence=track.licence,
            tempo_bpm=track.tempo_bpm,
            time_signature=track.time_signature,
            key=track.key,
        )
        for track in corpus.tracks
    }
    return add_files(
        catalogue,
        list(known),
        describer,
        kind=kind,
        keep_audio=keep_audio,
        on_duplicate=on_duplicate,
        known=known,
        progress=progress,
    )


def add_starter(
    catalogue: Catalogue,
    describer: Describes,
    *,
    count: int,
    seed: int,
    workers: int | None = None,
    rendering: Callable[[], None] = lambda: None,
    progress: Progress = lambda path, done: None,
) -> Added:
    """Render beats of all styles and keep them, audio and all; those that are there already stay as they are."""
    from backbeat.recommend.starter import LICENCE, render_starter

    with tempfile.TemporaryDirectory(prefix=".starter-", dir=catalogue.place) as scratch:
        rendering()
        beats = render_starter(Path(scratch) / "starter", count=count, seed=seed, workers=workers, progress=False)
        known = {
            beat.path: Known(
                title=beat.title,
                label=beat.label,
                source=f"starter-{seed}",
                licence=LICENCE,
                tempo_bpm=beat.tempo_bpm,
                key=beat.key,
            )
            for beat in beats
        }
        return add_files(
            catalogue, list(known), describer, kind="beat", keep_audio=True, known=known, progress=progress
        )


def is_of_interactions(path: Path) -> bool:
    """Tell whether a table is of interactions, by its columns or as only those are kept in Parquet; not of items."""
    if path.suffix.lower() == ".parquet":
        return True
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            columns = next(csv.reader(stream), [])
    except OSError as error:
        raise AnnotationError(f"cannot be read: {error.strerror or error}", path) from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise AnnotationError(f"cannot be read: {error}", path) from None
    return "user" in columns


def read_items(path: Path) -> Iterator[Addition]:
    """Read items that were described elsewhere, a row of a CSV file each.

    The columns `id`, `kind`, `duration_s` and `descriptors` (JSON, as `backbeat catalogue show --json` has them) are
    needed; `title`, `artist`, `label`, `path`, `sha256`, `source`, `licence` and `added_at` may be left out, as may
    `vector:SPACE`, a JSON list of numbers for each space.

    Raises
    ------
    AnnotationError
        If the file cannot be read, lacks a column or has an unknown one, or a row cannot be, naming its line.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            rows = csv.DictReader(stream)
            _check_columns(rows.fieldnames or (), path)
            for row in rows:
                try:
                    yield _addition(row)
                except (ValueError, TypeError, BackbeatError) as error:
                    problem = error.problem if isinstance(error, AnnotationError) else str(error)
                    raise AnnotationError(problem, path, rows.line_num) from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise AnnotationError(f"cannot be read: {error}", path) from None


def _check_columns(columns: Any, path: Path) -> None:
    if missing := [name for name in _NEEDED if name not in columns]:
        other = "one of interactions user, item, kind, at"
        problem = f"lacks the column {', '.join(missing)}; a table of items needs {', '.join(_NEEDED)}, {other}"
        raise AnnotationError(problem, path, 1)
    known = {*_NEEDED, *_TEXTS, "added_at"}
    if unknown := [name for name in columns if name not in known and not name.startswith(_VECTOR)]:
        raise AnnotationError(
            f"has the unknown column {', '.join(unknown)}; there are {', '.join(sorted(known))} and {_VECTOR}SPACE",
            path,
            1,
        )


def _addition(row: Mapping[str, str | None]) -> Addition:
    """Return what a row tells; ValueError, TypeError or BackbeatError where it cannot be."""
    if any(row[name] in (None, "") for name in _NEEDED):
        raise ValueError(f"{', '.join(_NEEDED)} must all be given")
    item = Item(
        id=str(row["id"]),
        kind=row["kind"],  # type: ignore[arg-type]  # which checks it
        duration_s=float(str(row["duration_s"])),
        added_at=float(row.get("added_at") or time.time()),
        descriptors=Descriptors.from_dict(json.loads(str(row["descriptors"]))),
        **{name: row.get(name) or "" for name in _TEXTS},
    )
    vectors: dict[str, NDArray] = {
        name.removeprefix(_VECTOR): np.array(json.loads(value), dtype=np.float32)
        for name, value in row.items()
        if name and name.startswith(_VECTOR) and value
    }
    return item, check_vectors(vectors, item.id), b""
