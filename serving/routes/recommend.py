"""What is recommended: the beat that fits a take, the next tracks for a listener."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import JSONResponse

from backbeat.errors import ModelError
from backbeat.settings import listed
from serving import metrics
from serving.problems import Problem
from serving.recommending import Chooser, Recommending
from serving.routes.common import FILES, GUARDED, RecommendingThere, allowed, body, described, hearing_of
from serving.routes.shown import EXAMPLE, ItemShown, shown
from serving.routes.taking import taken

if TYPE_CHECKING:
    from backbeat.analysis.describing import Described
    from backbeat.recommend.beats.filtering import BeatFilters
    from backbeat.recommend.beats.selecting import BeatAnswer
    from backbeat.recommend.items import Item
    from backbeat.recommend.tracks import TrackAnswer, TrackFilters

router = APIRouter(prefix="/v1/recommend", tags=["recommendation"])

#: Characters of a list of labels, or an id.
_LONGEST, ID_LENGTH = 1000, 128
_LIKES, _EXCLUDED, _LABELS = 100, 1000, 50
#: Where only the other end of a range is told.
_SLOWEST_BPM, _FASTEST_BPM = 1.0, 999.0
_MODELS = Field(description="Models that chose, by task: name, version, run, hash of the data.")


class Beat(BaseModel):
    """A beat that fits."""

    item: ItemShown
    score: float
    confidence: Annotated[float, Field(description="How likely it is right, 0 to 1; calibrated.")]
    level: Annotated[float, Field(description="Beats of the beat to one of the take: 2 in double time.")]
    stretch: Annotated[float, Field(description="How many times faster the beat has to play.")]
    transpose_semitones: int
    method: Annotated[str, Field(description='"rules and model", or "rules" where no model could compare the two.')]
    reason: str
    parts: Annotated[dict[str, Any], Field(description="What each rule and the model say.")]


class Beats(BaseModel):
    """Beats, the best first."""

    answers: list[Beat]
    models: Annotated[dict[str, dict[str, Any]], _MODELS]


class Track(BaseModel):
    """A track to hear next."""

    item: ItemShown
    score: float
    method: str
    reason: str
    parts: dict[str, Any]


class Tracks(BaseModel):
    """Tracks, the best first."""

    answers: list[Track]
    models: Annotated[dict[str, dict[str, Any]], _MODELS]


class Filters(BaseModel):
    """What may be recommended."""

    model_config = ConfigDict(extra="forbid")

    labels: Annotated[list[Annotated[str, Field(max_length=100)]], Field(max_length=_LABELS)] = []
    tempo_range: Annotated[tuple[float, float] | None, Field(description="Beats a minute, lowest and highest.")] = None
    duration_range: Annotated[tuple[float, float] | None, Field(description="Seconds, shortest and longest.")] = None
    exclude: Annotated[list[Annotated[str, Field(max_length=ID_LENGTH)]], Field(max_length=_EXCLUDED)] = []
    heard: Annotated[bool, Field(description="Whether tracks that the listener knows come as well.")] = False


class Question(BaseModel):
    """For whom tracks are wanted: a user whose interactions are known, or what somebody likes."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"example": {"likes": ["night-drive"], "count": 5, "filters": {"tempo_range": [80, 120]}}},
    )

    user: Annotated[str | None, Field(max_length=ID_LENGTH)] = None
    likes: Annotated[list[Annotated[str, Field(max_length=ID_LENGTH)]], Field(max_length=_LIKES)] = []
    count: Annotated[int, Field(ge=1)] = 10
    method: Annotated[
        str,
        Field(
            max_length=64, description="auto, hybrid, content, collaborative, poisson, deep, popularity, or one's own."
        ),
    ] = "auto"
    filters: Filters = Filters()
    diversity: Annotated[
        float, Field(ge=0, le=1, allow_inf_nan=False, description="0: the likeliest; 1: as different as can be.")
    ] = 0.0


_BEAT_EXAMPLE = {
    "answers": [
        {
            "item": EXAMPLE,
            "score": 2.31,
            "confidence": 0.72,
            "level": 1.0,
            "stretch": 1.02,
            "transpose_semitones": 0,
            "method": "rules and model",
            "reason": "Same key, 2 % faster.",
            "parts": {"tempo": 0.97, "key": 1.0},
        }
    ],
    "models": {"pairing": {"name": "backbeat-pairing", "version": "1"}},
}
_TRACK_EXAMPLE = {
    "answers": [
        {
            "item": {**EXAMPLE, "kind": "track"},
            "score": 0.83,
            "method": "content",
            "reason": "Sounds like what you like.",
            "parts": {"content": 0.83},
        }
    ],
    "models": {},
}


def _answers(model: type[BaseModel], example: Any) -> dict[int | str, dict[str, Any]]:
    return {200: {"model": model, "content": {"application/json": {"example": example}}}}


def enough(count: int, recommending: Recommending) -> None:
    """Refuse a number of answers that is beyond what the settings allow."""
    if count > recommending.most:
        raise Problem("wrong_value", f"count: {recommending.most} at most")


@router.post(
    "/beat",
    dependencies=[allowed("recommend")],
    responses=_answers(Beats, _BEAT_EXAMPLE),
    openapi_extra=described([*FILES, "unknown_item", "not_in_catalogue"], **body(required=False)),
)
async def beat(
    request: Request,
    recommending: RecommendingThere,
    like: Annotated[
        str | None, Query(description="An item of the catalogue, in place of a file.", max_length=ID_LENGTH)
    ] = None,
    count: Annotated[int, Query(ge=1, description="How many beats.")] = 5,
    labels: Annotated[
        str | None, Query(description="Styles to choose from, with commas between.", max_length=_LONGEST)
    ] = None,
    tempo_min: Annotated[float | None, Query(description="Beats a minute.")] = None,
    tempo_max: Annotated[float | None, Query(description="Beats a minute.")] = None,
    max_stretch: Annotated[
        float | None, Query(description="How much faster or slower a beat may have to play: 0.1 is 10 %.")
    ] = None,
    max_transpose: Annotated[int | None, Query(description="Semitones that a beat may be transposed by.")] = None,
    exclude: Annotated[
        str | None, Query(description="Ids of beats to leave out, with commas between.", max_length=_LONGEST)
    ] = None,
) -> JSONResponse:
    """Choose the beats that fit a take, a loop or a song: a file of any audio format, or an item of the catalogue."""
    enough(count, recommending)
    limits = {"max_stretch": max_stretch, "max_transpose": max_transpose}
    filters = _beat_filters(
        labels=listed(labels or ""),
        tempo_range=_range(tempo_min, tempo_max),
        exclude=listed(exclude or ""),
        **{name: value for name, value in limits.items() if value is not None},
    )

    def answers(chooser: Chooser, asked: Described | Item) -> dict[str, Any]:
        found = chooser.beats.select(asked, count=count, filters=filters)
        return {"answers": [_beat(one) for one in found], "models": _used(chooser, "pairing")}

    if like is not None:
        if request.headers.get("content-length", "0") != "0" or "transfer-encoding" in request.headers:
            raise Problem("wrong_value", "send a file, or name an item with `like`: one of them")
        answer = await recommending.choose(lambda chooser: answers(chooser, chooser.catalogue.get(like)))
    else:
        async with taken(request, hearing_of(request), recommending.chooser) as (_, take):
            answer = await recommending.choose(lambda chooser: answers(chooser, take))
    metrics.CHOSEN.labels("beat", "take" if like is None else "like").inc()
    return JSONResponse(answer)


@router.post(
    "/tracks",
    dependencies=[allowed("recommend")],
    responses=_answers(Tracks, _TRACK_EXAMPLE),
    openapi_extra=described(
        [*GUARDED, "wrong_value", "unknown_item", "not_in_catalogue", "conflict", "not_ready", "timed_out"]
    ),
)
async def tracks(recommending: RecommendingThere, asked: Question) -> JSONResponse:
    """Recommend tracks to a user by what they did, or to anybody by what they like; the popular ones to neither."""
    enough(asked.count, recommending)
    filters = _track_filters(asked.filters)

    def choose(chooser: Chooser) -> dict[str, Any]:
        found = chooser.tracks.recommend(
            user=asked.user,
            likes=tuple(asked.likes),
            count=asked.count,
            method=asked.method,
            filters=filters,
            diversity=asked.diversity,
        )
        return {"answers": [_track(one) for one in found], "models": _used(chooser, "listening")}

    try:
        answer = await recommending.choose(choose)
    except ModelError as error:
        if asked.method == "auto":
            raise
        raise Problem("conflict", f"method {asked.method}: {error}") from None
    for method in {one["method"] for one in answer["answers"]}:
        metrics.CHOSEN.labels("track", method).inc()
    return JSONResponse(answer)


def _beat_filters(**given: Any) -> BeatFilters:
    from backbeat.recommend.beats.filtering import BeatFilters

    return BeatFilters(**given)


def _track_filters(given: Filters) -> TrackFilters:
    from backbeat.recommend.tracks import TrackFilters

    return TrackFilters(
        labels=tuple(given.labels),
        tempo_range=given.tempo_range,
        duration_range=given.duration_range,
        exclude=tuple(given.exclude),
        heard=given.heard,
    )


def _range(low: float | None, high: float | None) -> tuple[float, float] | None:
    if low is None and high is None:
        return None
    return _SLOWEST_BPM if low is None else low, _FASTEST_BPM if high is None else high


def _beat(found: BeatAnswer) -> dict[str, Any]:
    return {
        "item": shown(found.item),
        "score": found.score,
        "confidence": found.confidence,
        "level": found.level,
        "stretch": found.stretch,
        "transpose_semitones": found.transpose_semitones,
        "method": found.method,
        "reason": found.reason,
        "parts": dict(found.parts),
    }


def _track(found: TrackAnswer) -> dict[str, Any]:
    return {
        "item": shown(found.item),
        "score": found.score,
        "method": found.method,
        "reason": found.reason,
        "parts": dict(found.parts),
    }


def _used(chooser: Chooser, task: str) -> dict[str, Any]:
    """Return where the model of a task comes from, as an analysis tells it; nothing where there is none."""
    told = chooser.lineage.get(task)
    return {} if told is None else {task: {name: told[name] for name in ("name", "version", "run", "data_hash")}}
