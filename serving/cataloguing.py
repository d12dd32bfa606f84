"""The service's catalogue: opening it, what in it sounds alike, and adding what was sent."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from backbeat.errors import CatalogueError
from backbeat.recommend.items import Item, Kind
from serving.settings import Settings
from serving.uploads import suffix_of

if TYPE_CHECKING:
    from backbeat.analysis.describing import Described
    from backbeat.recommend.catalogue import Catalogue

#: In the state, where the settings name no catalogue.
_FOLDER = "catalogue"
_GENRE = "genre:"


def open_catalogue(settings: Settings) -> Catalogue:
    """Open the catalogue that the settings name, which is made where there is none; errors as `Catalogue.open`.

    Indexes and audio lie in the state where it is a server's database, beside it where it is a file.
    """
    from backbeat.recommend.catalogue import Catalogue, load_catalogue
    from backbeat.recommend.catalogue.settings import named

    own = replace(load_catalogue(), folder=str(settings.place(_FOLDER).absolute()), database="")
    where = settings.recommend.catalogue
    return Catalogue(named(where, own) if where else own)


def similar_items(
    catalogue: Catalogue, like: str, count: int, kind: Kind | None, spaces: Sequence[str]
) -> tuple[str, list[tuple[Item, float]]]:
    """Return the space in which items are compared, and those that sound most like one, the most alike first.

    Parameters
    ----------
    catalogue, like
        Of what, and like which item.
    count, kind
        How many, and of which kind; None for the item's own.
    spaces
        In which to look for the item's vector first: to ask the catalogue which there are takes long.

    Raises
    ------
    UnknownItemError
        If the catalogue has no such item.
    CatalogueError
        If nothing is known of how it sounds.
    """
    item = catalogue.get(like)
    for space in _genre_spaces(spaces, catalogue):
        ids, matrix = catalogue.vectors(space, item.kind)
        place = bisect_left(ids, like)
        if place < len(ids) and ids[place] == like:
            near, scores = catalogue.nearest(space, matrix[place], count + 1, kind=kind or item.kind)
            found = [(one, float(score)) for one, score in zip(near, scores, strict=True) if one != like][:count]
            return space, [(catalogue.get(one), score) for one, score in found]
    raise CatalogueError(f"{like}: how it sounds is not known: `backbeat maintenance reindex` hears it again")


def _genre_spaces(known: Sequence[str], catalogue: Catalogue) -> Iterator[str]:
    """Give spaces of genre models: those that are known, then any others that there are."""
    yield from (space for space in known if space.startswith(_GENRE))
    yield from (space for space in catalogue.spaces() if space.startswith(_GENRE) and space not in known)


def keep_item(
    catalogue: Catalogue,
    file: Path,
    described: Described,
    kind: Kind,
    named: str | None,
    about: Mapping[str, str],
    keep_audio: bool,
) -> Item:
    """Keep an uploaded file that was described as an item, and its audio if that is wanted; return the item.

    Parameters
    ----------
    catalogue, kind
        Where to, and as what.
    file, described
        What was sent and what was heard in it.
    named
        Its id; None for one made of the title.
    about
        title, artist, label (empty for that of the genre model), source, licence.
    keep_audio
        Whether the catalogue keeps a copy.

    Raises
    ------
    CatalogueError
        If the recording, or an item of the id, is there already.
    """
    from backbeat.recommend.catalogue.adding import free_id, kept, same_file, same_sound

    if same := same_file(catalogue, file, kind) or same_sound(catalogue, file, described, kind):
        raise CatalogueError(f"the recording is in the catalogue already, as {same.id} ({same.reason})")
    item = Item(
        id=named or free_id(catalogue, about["title"], described.sha256),
        kind=kind,
        title=about["title"],
        artist=about["artist"],
        label=about["label"] or described.analysis.genre.label,
        path="",
        sha256=described.sha256,
        duration_s=described.analysis.duration_s,
        source=about["source"],
        licence=about["licence"],
        added_at=time.time(),
        descriptors=described.descriptors,
    )
    whole = file.rename(file.with_suffix(suffix_of(file)))
    with kept(catalogue, item, whole) if keep_audio else nullcontext(item) as made:
        catalogue.add(made, described.vectors, described.fingerprint)
    return made
