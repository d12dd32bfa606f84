"""What is heard in a file: everything, or a part."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import JSONResponse

from backbeat.analysis import Analysis, analysis_schema
from backbeat.analysis.analyzer import Judgement
from backbeat.analysis.hearing import Heard
from backbeat.errors import BackbeatError
from backbeat.files import sha256_file
from backbeat.monitoring.rows import row_of
from backbeat.settings import listed
from serving.analysing import Hearing
from serving.problems import PROBLEM_SCHEMA, Problem, body_of, problem_of
from serving.routes.common import FILES, GUARDED, HearingThere, allowed, body, described, scanned
from serving.uploads import Upload

router = APIRouter(prefix="/v1", tags=["analysis"])

#: Every field that can be asked for.
FIELDS = tuple(name for name in Analysis.__dataclass_fields__ if name not in ("schema_version", "models", "warnings"))
_DESCRIPTORS = "descriptors"
_BEATS = ("path", "duration_s", "tempo_bpm", "time_signature", "beats")
_ONSETS = ("path", "duration_s", "onsets", "drums")
_GENRE = ("path", "duration_s", "genre")

_SCHEMA = {name: value for name, value in analysis_schema().items() if not name.startswith("$")}
_FIELDS_HELP = f"Fields of the analysis to give, with commas between; all when left out. There are {', '.join(FIELDS)}."
_DESCRIPTORS_HELP = "Measure descriptors too; null where they are not asked for, here or among the fields."
_Fields = Annotated[str | None, Query(description=_FIELDS_HELP)]
_Descriptors = Annotated[bool, Query(description=_DESCRIPTORS_HELP)]


def _part(fields: tuple[str, ...]) -> dict[str, Any]:
    """Return the schema of an analysis of which there are some fields, and what is always there."""
    kept = ("schema_version", *fields, "models", "warnings")
    models = {"type": "object", "additionalProperties": {"type": "object"}}
    properties = {name: _SCHEMA["properties"][name] for name in kept} | {"models": models}
    return {"type": "object", "properties": properties, "required": list(kept), "additionalProperties": False}


def _answers(schema: dict[str, Any], example: Any = None) -> dict[int | str, dict[str, Any]]:
    content: dict[str, Any] = {"schema": schema} | ({} if example is None else {"example": example})
    return {200: {"description": "What was heard", "content": {"application/json": content}}}


_ORIGIN = {"name": "backbeat-beat", "version": "1", "run": None, "data_hash": "md5:6ffb"}
_EXAMPLE = {
    "schema_version": 1,
    "path": "song.mp3",
    "duration_s": 30.0,
    "tempo_bpm": 120.02,
    "time_signature": "4/4",
    "beats": [{"time_s": 0.512, "position": 1}, {"time_s": 1.012, "position": 2}],
    "models": {"beat": _ORIGIN},
    "warnings": [],
}


def chosen_fields(text: str | None, descriptors: bool = False) -> tuple[tuple[str, ...], bool]:
    """Return the fields of a list with commas, and whether descriptors are asked for; Problem for an unknown one."""
    if text is None:
        return FIELDS, descriptors
    fields = listed(text)
    for name in fields:
        if name not in FIELDS:
            raise Problem("wrong_value", f"fields: there is no field {name[:40]!r}; there are {', '.join(FIELDS)}")
    if not fields:
        raise Problem("wrong_value", f"fields: name one or more of {', '.join(FIELDS)}")
    if descriptors and _DESCRIPTORS not in fields:
        fields = (*fields, _DESCRIPTORS)
    return fields, _DESCRIPTORS in fields


async def _analyse(
    request: Request, hearing: Hearing, upload: Upload, fields: tuple[str, ...], item: int = 0, describe: bool = False
) -> dict[str, Any]:
    async with hearing.turn() as ears:
        heard = await ears.hear(upload.path, describe=describe)
        judgement = await ears.judge(heard, fields)
    answer = judgement.fields
    if "path" in answer:
        answer["path"] = upload.name
    await recorded(request, ears.lineage, upload, heard, judgement, item)
    return answer


async def recorded(
    request: Request,
    lineage: Mapping[str, Mapping[str, Any]],
    upload: Upload,
    heard: Heard,
    judgement: Judgement,
    item: int = 0,
) -> None:
    """Keep a row of what was answered, and the file where it is to be kept."""

    def keep() -> None:
        state, route = request.app.state, request.scope["route"].path
        sha256 = sha256_file(upload.path)
        state.kept.keep(upload.path, sha256)
        row = row_of(
            heard, judgement, lineage, request_id=request.state.request_id, item=item, route=route, sha256=sha256
        )
        state.recorder.add(row)

    # A long spectrogram takes a while to sum up, a long file to hash: not while others wait.
    await asyncio.to_thread(keep)


@asynccontextmanager
async def one_file(request: Request, hearing: Hearing) -> AsyncIterator[Upload]:
    """Take a place in the queue and the file of a request; what is done with it has an end in time."""
    limit_s = request.app.state.settings.limits.request_s
    async with hearing.queue.place(), scanned(request) as (files, _):
        try:
            async with asyncio.timeout(limit_s):
                yield files[0]
        except TimeoutError:
            raise Problem("timed_out", f"the work took longer than {limit_s:g} s", {"Retry-After": "30"}) from None


async def _one(request: Request, hearing: Hearing, fields: tuple[str, ...], describe: bool = False) -> dict[str, Any]:
    async with one_file(request, hearing) as file:
        return await _analyse(request, hearing, file, fields, describe=describe)


@router.post(
    "/analyze",
    dependencies=[allowed("analyze")],
    responses=_answers(
        {"type": "object", "properties": _SCHEMA["properties"], "required": ["schema_version", "models", "warnings"]},
        _EXAMPLE,
    ),
    openapi_extra=described(FILES, **body()),
)
async def analyze(
    request: Request, hearing: HearingThere, fields: _Fields = None, descriptors: _Descriptors = False
) -> dict[str, Any]:
    """Analyse a file of any audio format: beats and bars, drums and onsets, genre, key, tempo, loudness."""
    return await _one(request, hearing, *chosen_fields(fields, descriptors))


@router.post(
    "/analyze/batch",
    dependencies=[allowed("analyze")],
    responses=_answers(
        {
            "type": "object",
            "properties": {"results": {"type": "array", "items": {"anyOf": [{"type": "object"}, PROBLEM_SCHEMA]}}},
            "required": ["results"],
        }
    ),
    openapi_extra=described(FILES, **body(multiple=True)),
)
async def analyze_batch(
    request: Request, hearing: HearingThere, fields: _Fields = None, descriptors: _Descriptors = False
) -> dict[str, Any]:
    """Analyse several files, each sent as a field `file`: an analysis or an error for each, in their order."""
    chosen, describe = chosen_fields(fields, descriptors)
    limits = request.app.state.settings.limits

    async def one(item: int, upload: Upload) -> dict[str, Any]:
        try:
            async with asyncio.timeout(limits.request_s):
                return await _analyse(request, hearing, upload, chosen, item, describe)
        except TimeoutError:
            problem = Problem("timed_out", f"the work took longer than {limits.request_s:g} s")
        except BackbeatError as error:
            problem = problem_of(error)
        return body_of(problem.code, f"{upload.name}: {problem.detail}", request.state.request_id)

    async with hearing.queue.place(), scanned(request, limits.files) as (files, _):
        return {"results": await asyncio.gather(*(one(*numbered) for numbered in enumerate(files)))}


@router.post(
    "/beats",
    dependencies=[allowed("analyze")],
    responses=_answers(_part(_BEATS), _EXAMPLE),
    openapi_extra=described(FILES, **body()),
)
async def beats(request: Request, hearing: HearingThere) -> dict[str, Any]:
    """Find beats, their positions in the bar, tempo and time signature."""
    return await _one(request, hearing, _BEATS)


@router.post(
    "/onsets",
    dependencies=[allowed("analyze")],
    responses=_answers(_part(_ONSETS)),
    openapi_extra=described(FILES, **body()),
)
async def onsets(request: Request, hearing: HearingThere) -> dict[str, Any]:
    """Find what begins to sound, and which drums are struck how hard."""
    return await _one(request, hearing, _ONSETS)


@router.post(
    "/genre",
    dependencies=[allowed("analyze")],
    responses=_answers(_part(_GENRE)),
    openapi_extra=described(FILES, **body()),
)
async def genre(request: Request, hearing: HearingThere) -> dict[str, Any]:
    """Tell the genre, with the probability of each."""
    return await _one(request, hearing, _GENRE)


class Features(BaseModel):
    """The numbers that `/v1/embedding` gave."""

    features: Annotated[
        list[Annotated[float, Field(allow_inf_nan=False, ge=-1e6, le=1e6)]], Field(min_length=1, max_length=4096)
    ]


class GenreAnswer(BaseModel):
    """The likeliest genre, and the probability of each."""

    label: str
    probabilities: dict[str, float]
    unsure: bool


class EmbeddingAnswer(BaseModel):
    """What the genre is told by: tracks that sound alike have it alike."""

    features: list[float]
    model: str
    version: str


@router.post(
    "/genre/features",
    dependencies=[allowed("analyze")],
    response_model=GenreAnswer,
    openapi_extra=described([*GUARDED, "wrong_value", "not_ready"]),
)
async def genre_of_features(hearing: HearingThere, given: Features) -> JSONResponse:
    """Tell the genre of features that were extracted before, with `/v1/embedding` of the same version."""
    # As it is: to copy and check the answer would take longer than to find it.
    return JSONResponse(vars(hearing.ears.genre(given.features)))


@router.post("/embedding", dependencies=[allowed("analyze")], openapi_extra=described(FILES, **body()))
async def embedding(request: Request, hearing: HearingThere) -> EmbeddingAnswer:
    """Give the numbers that the genre model tells genres by, to compare tracks or to ask for the genre again."""
    async with one_file(request, hearing) as file, hearing.turn() as ears:
        features = await ears.embed(await ears.hear(file.path))
    origin = ears.models["genre"]
    return EmbeddingAnswer(features=features, model=origin.name, version=origin.version)
