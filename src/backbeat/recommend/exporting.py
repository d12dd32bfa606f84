"""What the listeners of a catalogue did, as files to learn from: the pipeline's stage `listeners` reads them.

The folder has the layout of `backbeat.listening.data`: items with their vectors, and interactions.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from backbeat.errors import CatalogueError
from backbeat.files import sha256_file
from backbeat.listening.data import ItemSet, write_items
from backbeat.recommend.interactions import EXPORTED, write_interactions

if TYPE_CHECKING:
    from backbeat.features import FeatureParams
    from backbeat.recommend.catalogue import Catalogue

_DIGITS = 12


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
        If there are no interactions, or no track has a vector of that space.
    """
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
