"""Items of the catalogue as callers see them: never where a file lies here."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import Path
from pydantic import BaseModel, Field

from backbeat.recommend.items import Item

#: The same as `backbeat.recommend.items.check_id` has it.
ID_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$"
ItemId = Annotated[str, Path(description="Of the catalogue.", examples=["night-drive"])]


class ItemShown(BaseModel):
    """A track or a beat, in short."""

    id: str
    kind: Literal["track", "beat"]
    title: str
    artist: str
    label: Annotated[str, Field(description="Style or genre; empty where none is known.")]
    duration_s: float
    tempo_bpm: float | None
    key: Annotated[str | None, Field(description='"A minor"; null where none is known.')]
    camelot: str | None
    energy: float
    source: str
    licence: str


class ItemWhole(ItemShown):
    """A track or a beat with all that was measured of it."""

    sha256: str
    added_at: Annotated[float, Field(description="Seconds since 1970.")]
    has_audio: Annotated[bool, Field(description="Whether the catalogue knows where its audio lies.")]
    descriptors: dict[str, Any]


def shown(item: Item) -> dict[str, Any]:
    """Return an item in short."""
    told = item.descriptors
    return {
        "id": item.id,
        "kind": item.kind,
        "title": item.title,
        "artist": item.artist,
        "label": item.label,
        "duration_s": item.duration_s,
        "tempo_bpm": told.tempo_bpm,
        "key": None if told.key is None else f"{told.key.tonic} {told.key.mode}",
        "camelot": told.camelot,
        "energy": told.energy,
        "source": item.source,
        "licence": item.licence,
    }


def shown_whole(item: Item) -> dict[str, Any]:
    """Return an item with its descriptors."""
    return {
        **shown(item),
        "sha256": item.sha256,
        "added_at": item.added_at,
        "has_audio": bool(item.path),
        "descriptors": item.descriptors.to_dict(),
    }


#: For the OpenAPI document.
EXAMPLE = {
    "id": "night-drive",
    "kind": "beat",
    "title": "Night drive",
    "artist": "",
    "label": "boom_bap",
    "duration_s": 21.3,
    "tempo_bpm": 90.02,
    "key": "A minor",
    "camelot": "8A",
    "energy": 0.61,
    "source": "rendered",
    "licence": "CC0-1.0",
}
