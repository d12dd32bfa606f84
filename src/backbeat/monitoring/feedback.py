"""Corrections: what is right, by users who know it; kept with where they come from, and made a corpus to train on.

The corpus is a folder that the corpus kind `folder` reads::

    annotations.csv     a row a recording, with its licence; a recording never changes its split
    audio/ID.mp3, .beats
    provenance.jsonl    a line a correction: by whom, when, of which answer, of which model's
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import RowMapping, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from backbeat.corpus.annotated import AnnotatedTrack, store
from backbeat.errors import CorpusError
from backbeat.files import write_text
from backbeat.monitoring.store import MonitoringStore
from backbeat.monitoring.tables import FEEDBACK
from backbeat.music import Beats

PROVENANCE = "provenance.jsonl"
#: Parts of the recordings that are tested and validated on.
_TEST, _VALID = 0.25, 0.15


@dataclass(frozen=True)
class Correction:
    """What is right of one answer.

    Parameters
    ----------
    request_id, item
        The answer.
    task
        "beat" or "genre".
    truth
        {"label": "jazz"}, or {"beats": [[time_s, position], ...]} with None for positions that are not known.
    answer
        What had been said, and by which model: {"answer", "model": {"name", "version", "run"}}.
    author
        Who says so.
    licence
        Under which the recording may be trained on; may be empty.
    sha256, audio
        Of the recording, and the name of its file.
    at
        Seconds since 1970.
    corpus
        The version of the corpus that it entered; None until then.
    """

    request_id: str
    item: int
    task: str
    truth: Mapping[str, Any]
    answer: Mapping[str, Any]
    author: str
    licence: str
    sha256: str
    audio: str
    at: float = field(default_factory=time.time)
    corpus: str | None = None

    @property
    def id(self) -> str:
        """Its name: the same for who says the same twice."""
        said = [self.request_id, self.item, self.task, self.truth, self.author, self.licence]
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:32]

    def beats(self) -> Beats:
        """Return the right beats; AnnotationError where they cannot be."""
        pairs = self.truth["beats"]
        positions = [position for _, position in pairs]
        known = bool(positions) and all(position is not None for position in positions)
        return Beats(np.array([time_s for time_s, _ in pairs]), np.array(positions) if known else None)


def add(monitoring: MonitoringStore, correction: Correction) -> bool:
    """Keep a correction; False when it was there already."""
    values = {name: getattr(correction, name) for name in Correction.__dataclass_fields__}
    with monitoring.asked():
        try:
            with monitoring.engine.begin() as connection:
                connection.execute(insert(FEEDBACK).values(id=correction.id, **values))
        except IntegrityError:
            return False
    return True


def corrections(monitoring: MonitoringStore, *, since: float = 0.0) -> list[Correction]:
    """Return the corrections that came since a time, oldest first."""
    asked = select(FEEDBACK).where(FEEDBACK.c.at >= since).order_by(FEEDBACK.c.at, FEEDBACK.c.id)
    with monitoring.begin() as connection:
        return [_correction(row) for row in connection.execute(asked).mappings()]


def pending(monitoring: MonitoringStore) -> int:
    """Return of how many recordings, for each task, there are corrections that no corpus has yet."""
    with monitoring.begin() as connection:
        different = select(FEEDBACK.c.sha256, FEEDBACK.c.task).where(FEEDBACK.c.corpus.is_(None)).distinct()
        return int(connection.execute(select(func.count()).select_from(different.subquery())).scalar_one())


def write_corpus(monitoring: MonitoringStore, audio: Path, folder: Path) -> str:
    """Write all corrections as a corpus, in place of what is at `folder`; of several to one recording the latest holds.

    Parameters
    ----------
    audio
        Where the recordings lie.

    Returns
    -------
    The version: a hash that the same corrections always have.

    Raises
    ------
    CorpusError
        If there are none, or a recording is missing.
    """
    given = corrections(monitoring)
    if not given:
        raise CorpusError("there are no corrections to make a corpus of: they come by POST /v1/feedback")
    for correction in given:
        if not (audio / correction.audio).is_file():
            raise CorpusError(f"{audio / correction.audio}: the recording of a correction is missing; restore it")
    store(folder, _tracks(given, audio), copy="copy")
    lines = [json.dumps(_provenance(correction), sort_keys=True) for correction in given]
    write_text(folder / PROVENANCE, "".join(f"{line}\n" for line in lines))
    return version_of(folder)


def version_of(folder: Path) -> str:
    """Return the version of a corpus of corrections: 12 hexadecimal digits; CorpusError where there is none."""
    try:
        return hashlib.sha256((folder / PROVENANCE).read_bytes()).hexdigest()[:12]
    except FileNotFoundError:
        raise CorpusError(f"{folder}: no corpus of corrections, it has no {PROVENANCE}") from None


def mark(monitoring: MonitoringStore, folder: Path) -> int:
    """Note that the corrections of a corpus have been trained on; return how many had not been before."""
    version = version_of(folder)
    lines = (folder / PROVENANCE).read_text(encoding="utf-8").splitlines()
    marked = 0
    with monitoring.begin() as connection:
        for line in lines:
            change = update(FEEDBACK).where(FEEDBACK.c.id == json.loads(line)["id"], FEEDBACK.c.corpus.is_(None))
            marked += connection.execute(change.values(corpus=version)).rowcount
    return marked


def split_of(sha256: str) -> str:
    """Return the split of a recording: by its hash alone, so that none is ever tested on that was trained on before."""
    place = int(sha256[:8], 16) / 16**8
    return "test" if place < _TEST else "valid" if place < _TEST + _VALID else "train"


def _tracks(given: Iterable[Correction], audio: Path) -> list[AnnotatedTrack]:
    tracks: dict[str, AnnotatedTrack] = {}
    for one in given:
        track = tracks.get(one.sha256) or AnnotatedTrack(
            one.sha256[:16], audio / one.audio, split=split_of(one.sha256), source=one.sha256[:16]
        )
        changed: dict[str, Any] = {"beats": one.beats()} if one.task == "beat" else {"genre": one.truth["label"]}
        tracks[one.sha256] = replace(track, licence=one.licence or track.licence, **changed)
    return list(tracks.values())


def _provenance(correction: Correction) -> dict[str, Any]:
    names = ("request_id", "item", "task", "truth", "answer", "author", "licence", "sha256", "at")
    return {"id": correction.id, **{name: getattr(correction, name) for name in names}}


def _correction(row: RowMapping) -> Correction:
    return Correction(**{name: row[name] for name in Correction.__dataclass_fields__})
