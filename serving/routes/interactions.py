"""What listeners did: told to the catalogue, and forgotten."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Annotated, Any, Literal

from fastapi import APIRouter, Body, Path
from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag
from starlette.requests import Request

from serving import metrics
from serving.problems import Problem
from serving.routes.common import GUARDED, RecommendingThere, allowed, described
from serving.routes.shown import ID_PATTERN

if TYPE_CHECKING:
    from backbeat.recommend.interactions import Interaction

router = APIRouter(prefix="/v1", tags=["recommendation"])

#: By how much a caller's clock may be ahead.
_AHEAD_S = 300.0
_Id = Annotated[str, Field(pattern=ID_PATTERN)]


class Told(BaseModel):
    """Somebody did something with an item of the catalogue."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"example": {"user": "anna", "item": "night-drive", "kind": "like"}}
    )

    user: Annotated[_Id, Field(description="As you call them; a pseudonym will do.")]
    item: _Id
    kind: Literal["play", "like", "skip", "dislike", "save"]
    at: Annotated[
        float | None, Field(ge=0, allow_inf_nan=False, description="Seconds since 1970; now when left out.")
    ] = None
    id: Annotated[_Id | None, Field(description="Yours: told again with the same id, it counts once.")] = None


class Several(BaseModel):
    """Several interactions: all of them are taken, or none."""

    model_config = ConfigDict(extra="forbid")

    interactions: Annotated[list[Told], Field(min_length=1)]


class Taken(BaseModel):
    """How many interactions were new; the others were here already."""

    told: int
    new: int


class Forgotten(BaseModel):
    """What was removed of a user, rows by where they were."""

    user: str
    removed: dict[str, int]


def _which(given: Any) -> str:
    return "many" if isinstance(given, Several) or (isinstance(given, dict) and "interactions" in given) else "one"


_Given = Annotated[Annotated[Told, Tag("one")] | Annotated[Several, Tag("many")], Discriminator(_which), Body()]


@router.post(
    "/interactions",
    status_code=201,
    dependencies=[allowed("interactions")],
    openapi_extra=described([*GUARDED, "wrong_value", "unknown_item", "too_large", "not_ready"]),
)
async def interactions(request: Request, recommending: RecommendingThere, given: _Given) -> Taken:
    """Tell what a listener did, or several listeners: played, liked, skipped, disliked, saved."""
    told = given.interactions if isinstance(given, Several) else [given]
    most = request.app.state.settings.recommend.interactions
    if len(told) > most:
        raise Problem("too_large", f"interactions: {most:,} at most in one request")
    now = time.time()
    if late := next((one.at for one in told if one.at is not None and one.at > now + _AHEAD_S), None):
        raise Problem("wrong_value", f"at: {late:g} is in the future; it is seconds since 1970")
    catalogue = recommending.chooser.catalogue
    new = await asyncio.to_thread(catalogue.add_interactions, [_interaction(one, now) for one in told])
    metrics.INTERACTIONS.labels("new").inc(new)
    metrics.INTERACTIONS.labels("known").inc(len(told) - new)
    request.state.facts = {"interactions": len(told)}
    return Taken(told=len(told), new=new)


@router.delete(
    "/users/{user}",
    dependencies=[allowed("interactions")],
    openapi_extra=described([*GUARDED, "wrong_value", "unknown_item", "not_ready"]),
)
async def forget(
    recommending: RecommendingThere, user: Annotated[str, Path(description="As they were called in interactions.")]
) -> Forgotten:
    """Forget a user: all that they did is removed."""
    return Forgotten(user=user, removed=await asyncio.to_thread(recommending.chooser.catalogue.forget_user, user))


def _interaction(one: Told, now: float) -> Interaction:
    from backbeat.recommend.interactions import Interaction

    return Interaction(one.user, one.item, one.kind, now if one.at is None else one.at, one.id or "")
