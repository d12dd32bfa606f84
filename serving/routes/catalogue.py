"""The catalogue: what is in it, what is like what, adding and removing."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import JSONResponse

from backbeat.recommend.items import Kind
from serving.cataloguing import keep_item, similar_items
from serving.recommending import Chooser
from serving.routes.common import FILES, GUARDED, RecommendingThere, allowed, body, described, hearing_of, line
from serving.routes.recommend import ID_LENGTH, enough
from serving.routes.shown import EXAMPLE, ID_PATTERN, ItemId, ItemShown, ItemWhole, shown, shown_whole
from serving.routes.taking import taken

router = APIRouter(prefix="/v1/catalogue", tags=["catalogue"])

#: Characters of a title, an artist and the like.
_LONGEST, _LABEL = 300, 100
_READ = [*GUARDED, "wrong_value", "unknown_item", "not_ready"]


class Items(BaseModel):
    """A page of items, in the order of their ids."""

    items: list[ItemShown]
    next: Annotated[str | None, Field(description="To be named as `after` for the next page; null at the end.")]
    total: int


class Alike(BaseModel):
    """An item, and how much it is like the one that was named."""

    item: ItemShown
    score: float


class Similar(BaseModel):
    """Items that sound alike, the most alike first; `space` says by which model's vectors."""

    answers: list[Alike]
    space: str


class Removed(BaseModel):
    """What was removed, rows by where they were."""

    id: str
    removed: dict[str, int]


@router.get(
    "/items",
    dependencies=[allowed("catalogue", "recommend")],
    responses={
        200: {
            "model": Items,
            "content": {"application/json": {"example": {"items": [EXAMPLE], "next": None, "total": 1}}},
        }
    },
    openapi_extra=described(_READ),
)
async def items(
    recommending: RecommendingThere,
    kind: Annotated[Kind | None, Query(description="Tracks or beats; both when left out.")] = None,
    after: Annotated[str, Query(description="The last id of the page before.", max_length=ID_LENGTH)] = "",
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> JSONResponse:
    """List the catalogue, a page at a time."""
    catalogue = recommending.chooser.catalogue

    def page() -> dict[str, Any]:
        # One more than is shown tells whether there is a next page.
        found = list(catalogue.items(kind, after=after, limit=limit + 1))
        return {
            "items": [shown(item) for item in found[:limit]],
            "next": found[limit - 1].id if len(found) > limit else None,
            "total": catalogue.count(kind),
        }

    return JSONResponse(await asyncio.to_thread(page))


@router.get(
    "/items/{item}",
    dependencies=[allowed("catalogue", "recommend")],
    responses={200: {"model": ItemWhole}},
    openapi_extra=described(_READ),
)
async def one_item(recommending: RecommendingThere, item: ItemId) -> JSONResponse:
    """Give an item with all that was measured of it."""
    found = await asyncio.to_thread(recommending.chooser.catalogue.get, item)
    return JSONResponse(shown_whole(found))


@router.get(
    "/items/{item}/similar",
    dependencies=[allowed("catalogue", "recommend")],
    responses={200: {"model": Similar}},
    openapi_extra=described([*_READ, "not_in_catalogue", "timed_out"]),
)
async def similar(
    recommending: RecommendingThere,
    item: ItemId,
    count: Annotated[int, Query(ge=1, description="How many.")] = 10,
    kind: Annotated[Kind | None, Query(description="Tracks or beats; of the item's own kind when left out.")] = None,
) -> JSONResponse:
    """Give the items that sound most like one, by the genre model's vectors."""
    enough(count, recommending)

    def choose(chooser: Chooser) -> dict[str, Any]:
        space, found = similar_items(chooser.catalogue, item, count, kind, chooser.spaces)
        return {"answers": [{"item": shown(one), "score": score} for one, score in found], "space": space}

    return JSONResponse(await recommending.choose(choose))


@router.post(
    "/items",
    status_code=201,
    dependencies=[allowed("catalogue")],
    responses={201: {"model": ItemWhole}},
    openapi_extra=described([*FILES, "not_in_catalogue"], **body()),
)
async def add(
    request: Request,
    recommending: RecommendingThere,
    kind: Annotated[Kind, Query(description="A track to listen to, or a beat to put under a take.")],
    id: Annotated[
        str | None, Query(description="Made of the title or the file's name when left out.", pattern=ID_PATTERN)
    ] = None,
    title: Annotated[str, Query(description="The file's name when left out.", max_length=_LONGEST)] = "",
    artist: Annotated[str, Query(max_length=_LONGEST)] = "",
    label: Annotated[str, Query(description="As the genre model has it when left out.", max_length=_LABEL)] = "",
    source: Annotated[str, Query(description="What it was made from, or who made it.", max_length=_LONGEST)] = "",
    licence: Annotated[str, Query(max_length=_LONGEST)] = "",
) -> JSONResponse:
    """Add a file to the catalogue: it is heard and described; the same recording again is refused."""
    words = {"title": title, "artist": artist, "label": label, "source": source, "licence": licence}
    about = {name: line(name, word) or "" for name, word in words.items()}
    chooser, keep = recommending.chooser, request.app.state.settings.recommend.keep_audio
    async with taken(request, hearing_of(request), chooser, fingerprints=True) as (file, heard):
        about["title"] = about["title"] or Path(file.name).stem
        added = await asyncio.to_thread(keep_item, chooser.catalogue, file.path, heard, kind, id, about, keep)
    request.state.facts |= {"item": added.id}
    return JSONResponse(shown_whole(added), 201)


@router.delete(
    "/items/{item}",
    dependencies=[allowed("catalogue")],
    openapi_extra=described(_READ),
)
async def remove(request: Request, recommending: RecommendingThere, item: ItemId) -> Removed:
    """Remove an item everywhere: its vectors, its fingerprint, its audio here, what listeners did with it."""
    removed = await asyncio.to_thread(recommending.chooser.catalogue.remove, item)
    request.state.facts = {"item": item}
    return Removed(id=item, removed=removed)
