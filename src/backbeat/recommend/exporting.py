"""What the listeners of a catalogue did, as files to learn from: the pipeline's stage `listeners` reads them.

The folder has the layout of `backbeat.listening.data`: items with their vectors, and interactions.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from backbeat.errors import CatalogueError
from backbeat.files import sha256_file
from backbeat.listening.data import ITEMS, SPACE, VECTORS, ItemSet, write_items
from backbeat.recommend.interactions import EXPORTED, write_interactions

if TYPE_CHECKING:
    from backbeat.features import FeatureParams
    from backbeat.recommend.catalogue import Catalogue

_DIGITS = 12


def _check_place(folder: Path) -> None:
    """Refuse to write where something else would be lost."""
    if not folder.exists():
        return
    there = {path.name for path in folder.iterdir()} if folder.is_dir() else {folder.name}
    if not there <= {ITEMS, VECTORS, SPACE, EXPORTED}:
        raise CatalogueError(f"{folder}: is there and is no export, so it is not replaced; name another folder")
    if folder.resolve() == Path().resolve():
        raise CatalogueError(f"{folder}: is where you are; name a folder in it")


def export_listeners(catalogue: Catalogue, folder: Path, space: str, features: FeatureParams) -> str:
    """Write tracks and interactions of a catalogue, in place of what is at `folder`.

    Parameters
    ----------
    space
        Whose vectors: "genre:HASH".
    features
        The front end of the model that made them.

    Returns
    -------
    The version: 12 hexadecimal digits that the same interactions always have.

    Raises
    ------
    CatalogueError
        If something else than an export is at `folder`, there are no interactions, or no track has a vector of that
        space.
    """
    _check_place(folder)
    interactions = catalogue.interactions()
    ids, vectors = catalogue.vectors(space, "track")
    if not len(interactions):
        raise CatalogueError("the catalogue has no interactions: they come by POST /v1/interactions or from a file")
    if not ids:
        raise CatalogueError(f"no track of the catalogue has a vector of {space}: run `backbeat maintenance reindex`")
    table = catalogue.table("track")
    places = np.searchsorted(np.array(table.ids), np.array(ids))
    write_items(
        folder,
        ItemSet(
            ids=tuple(ids),
            labels=tuple(table.labels[places].tolist()),
            artists=tuple(table.artists[places].tolist()),
            tempo_bpm=table.tempo_bpm[places],
            energy=table.energy[places],
            added_at=table.added_at[places],
            vectors=vectors,
            space=space,
            features=features,
        ),
    )
    write_interactions(folder / EXPORTED, interactions)
    return sha256_file(folder / EXPORTED)[:_DIGITS]
