"""Corrections: an answer is said to be wrong, by whoever knows what is right, to be learnt from."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import BaseModel, Field, ValidationError
from starlette.requests import Request

from backbeat.errors import AnnotationError
from backbeat.files import atomic_path, sha256_file
from backbeat.monitoring.feedback import Correction, add
from backbeat.monitoring.rows import Row
from backbeat.monitoring.store import MonitoringStore
from serving.access import Caller
from serving.analysing import Hearing
from serving.problems import Problem
from serving.routes.common import GUARDED, allowed, described, monitoring_of, scanned
from serving.uploads import suffix_of

router = APIRouter(prefix="/v1", tags=["monitoring"])

#: A row is written some seconds after its answer.
_LOOK_S = 0.25
_GENRE = re.compile(r"\w[\w &'-]*")


class Feedback(BaseModel):
    """What is right of an answer: the genre, or the beats."""

    request_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9-]{8,64}$", description="X-Request-ID of the answer.")]
    item: Annotated[int, Field(ge=0, le=1000, description="Which file of a batch, from 0.")] = 0
    genre: Annotated[str | None, Field(min_length=1, max_length=64)] = None
    beats: Annotated[
        list[Annotated[float, Field(ge=0, le=1e6)] | tuple[float, int]] | None,
        Field(min_length=1, max_length=20_000, description="Times in seconds, or [time, position in the bar]."),
    ] = None
    licence: Annotated[str, Field(max_length=200, description="Under which the recording may be trained on.")] = ""


class FeedbackAnswer(BaseModel):
    """The correction, as it is kept."""

    id: str
    request_id: str
    task: str
    new: bool
    note: str


_FORM = {
    "type": "object",
    "required": ["request_id", "file"],
    "properties": {
        "file": {"type": "string", "format": "binary"},
        **{name: {"type": "string"} for name in ("request_id", "item", "genre", "beats", "licence")},
    },
}


@router.post(
    "/feedback",
    status_code=201,
    openapi_extra=described(
        [*GUARDED, "wrong_value", "wrong_type", "not_found", "conflict", "not_ready", "too_large", "too_slow",
         "refused_file"],
        requestBody={
            "required": True,
            "content": {
                "application/json": {"schema": Feedback.model_json_schema()},
                "multipart/form-data": {"schema": _FORM},
            },
        },
    ),
)  # fmt: skip
async def feedback(request: Request, caller: Annotated[Caller, allowed("analyze")]) -> FeedbackAnswer:
    """Correct an answer: the right genre or the right beats, to be learnt from.

    The recording comes with it (a form with `file`, the same bytes as were analysed), unless the service still has it.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        async with scanned(request) as (files, form):
            given = {name: str(value) for name, value in form.items() if name != "file"}
            if beats := given.pop("beats", None):
                given["beats"] = _json(beats.encode(), "beats")
            return await _corrected(request, caller, _feedback(given), files[0].path)
    if kind != "application/json":
        raise Problem("wrong_type", "send JSON, or a form (multipart/form-data) with the recording as `file`")
    return await _corrected(request, caller, _feedback(_json(await request.body(), "the body")), None)


def _json(text: bytes, where: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise Problem("bad_request", f"{where} is not JSON") from None


def _feedback(given: Any) -> Feedback:
    try:
        found = Feedback.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        # Steps into parts of a union are the validator's own.
        where = ".".join(str(step) for step in first["loc"][:2]) or "the body"
        raise Problem("wrong_value", f"{where}: {first['msg']}") from None
    if (found.genre is None) == (found.beats is None):
        raise Problem("wrong_value", "send what is right: `genre` or `beats`, one of them")
    if found.genre is not None and not _GENRE.fullmatch(found.genre.strip()):
        raise Problem("wrong_value", "genre: a name is letters and digits, with blanks, '-', '_', '&' or ''' between")
    if not found.licence.isprintable():
        raise Problem("wrong_value", "licence: words that can be printed")
    return found


async def _corrected(request: Request, caller: Caller, given: Feedback, sent: Path | None) -> FeedbackAnswer:
    monitoring = await monitoring_of(request)
    row = await _row(request, monitoring, given)
    given, note = _named_as_known(given, request.app.state.hearing)
    correction = _correction(given, row, caller.name)
    if sent is not None and await asyncio.to_thread(sha256_file, sent) != row.sha256:
        raise Problem("conflict", "the recording is not the one that was analysed: send the same file")
    recording = sent or request.app.state.kept.find(row.sha256)
    if recording is None:
        raise Problem("conflict", "the recording is not kept here: send it too, as `file` of a form")
    folder = request.app.state.settings.place("corrections")
    # First the recording, then the row: what is left by a kill between the two is a file that nobody names.
    kept = replace(correction, audio=await asyncio.to_thread(_keep, recording, folder, row.sha256))
    new = await asyncio.to_thread(add, monitoring, kept)
    return FeedbackAnswer(id=kept.id, request_id=row.request_id, task=kept.task, new=new, note=note)


def _named_as_known(given: Feedback, hearing: Hearing | None) -> tuple[Feedback, str]:
    """Return a genre by the name that the model has for it, and a note where it has none."""
    if given.genre is None or hearing is None or not hearing.ready:
        return given, ""
    name = given.genre.strip()
    known = {one.casefold(): one for one in hearing.ears.analyzer.specs["genre"].classes}
    if found := known.get(name.casefold().replace(" ", "_"), known.get(name.casefold())):
        return given.model_copy(update={"genre": found}), ""
    note = f"the model in use does not know {name!r}: trained on it, its classes change"
    return given.model_copy(update={"genre": name}), note


async def _row(request: Request, monitoring: MonitoringStore, given: Feedback) -> Row:
    """Return the row of the answer, which may be on its way."""
    until = time.monotonic() + 2 * request.app.state.settings.monitoring.seconds
    while True:
        rows = await asyncio.to_thread(monitoring.of_request, given.request_id)
        found = [row for row in rows if row.item == given.item]
        if found:
            return found[-1]
        if rows:
            raise Problem("not_found", f"item: the request has no answer for a file {given.item}")
        if time.monotonic() > until:
            raise Problem("not_found", "there is no answer of this request id, or it is long ago")
        await asyncio.sleep(_LOOK_S)


def _correction(given: Feedback, row: Row, author: str) -> Correction:
    """Return a correction whose recording has no place yet; Problem where it cannot be right."""
    task = "beat" if given.beats is not None else "genre"
    if given.beats is not None:
        pairs = [[beat, None] if isinstance(beat, float) else list(beat) for beat in given.beats]
        truth: dict[str, Any] = {"beats": pairs}
    else:
        truth = {"label": (given.genre or "").strip()}
    lineage = row.models.get(task, {})
    answer = {
        "answer": row.answer.get("beats" if task == "beat" else "genre"),
        "model": {name: lineage.get(name) for name in ("name", "version", "run")},
    }
    made = Correction(row.request_id, row.item, task, truth, answer, author, given.licence.strip(), row.sha256, "")
    if task == "beat":
        try:
            last_s = float(made.beats().times_s[-1])
        except AnnotationError as error:
            raise Problem("wrong_value", f"beats: {error}") from None
        duration_s = row.measures.get("duration_s")
        if isinstance(duration_s, float) and last_s > duration_s + 0.1:
            raise Problem("wrong_value", f"beats: the last is at {last_s:g} s, the recording ends at {duration_s:g} s")
    return made


def _keep(source: Path, folder: Path, sha256: str) -> str:
    """Keep a recording in a folder; return the name of its file."""
    target = folder / f"{sha256}{suffix_of(source)}"
    if not target.is_file():
        with atomic_path(target) as temporary:
            shutil.copyfile(source, temporary)
    return target.name
