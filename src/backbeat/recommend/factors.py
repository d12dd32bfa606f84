"""The factors that a catalogue keeps: fitted to what its listeners did, and read again."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from backbeat.errors import CatalogueError, ConfigError
from backbeat.listening.factors import Factors, FactorSettings, fit_factors
from backbeat.listening.history import Events
from backbeat.listening.recommenders import numbered
from backbeat.recommend.interactions import InteractionTable
from backbeat.settings import read_settings

if TYPE_CHECKING:
    from backbeat.recommend.catalogue import Catalogue


def refit(catalogue: Catalogue, settings: FactorSettings | None = None) -> int:
    """Fit factors to all interactions and keep them in the place of those before; return of how many items.

    Parameters
    ----------
    catalogue
        Where interactions come from and factors go to.
    settings
        As the listening model in use has them (`ListeningModel.factors`), for its blend was learnt with those;
        the defaults where there is none.
    """
    chosen = settings or FactorSettings()
    table = catalogue.interactions()
    ids = np.unique(table.items)
    events = coded(table, ids)
    now = float(table.at[-1]) if len(table) else 0.0
    tracks = catalogue.table("track")
    artists = dict(zip(tracks.ids, tracks.artists.tolist(), strict=True))
    found = fit_factors(events, numbered([artists.get(name, "") for name in ids.tolist()]), now, chosen)
    known = found.als.known
    catalogue.put_factors(stamp(chosen, len(table), now), ids[known].tolist(), found.rows[known])
    return int(known.sum())


def interactions_since(catalogue: Catalogue) -> int:
    """Return how many interactions the factors do not know: what a refit would bring in."""
    there, found = len(catalogue.interactions()), catalogue.factors()
    try:
        return there if found is None else abs(there - _read(found[0])[1])
    except CatalogueError:  # of another kind
        return there


def stamp(settings: FactorSettings, interactions: int, until: float) -> str:
    """Return a text that tells how factors were fitted, and to what."""
    return json.dumps({"factors": asdict(settings), "interactions": interactions, "until": until}, sort_keys=True)


def factors_of(catalogue: Catalogue, ids: tuple[str, ...]) -> Factors | None:
    """Return a catalogue's factors for items in a given order, that of their ids; None where none were fitted.

    Raises
    ------
    CatalogueError
        If they were fitted by something else.
    """
    found = catalogue.factors()
    if found is None:
        return None
    told, names, matrix = found
    try:
        settings = read_settings(FactorSettings, _read(told)[0])
    except ConfigError as error:
        raise CatalogueError(
            f"the catalogue's factors: {error}; `backbeat maintenance reindex` fits them anew"
        ) from None
    rows = np.full((len(ids), settings.width), np.nan, dtype=np.float32)
    places, there = rows_of(np.array(ids), np.array(names))
    rows[places] = matrix[there]
    return Factors.of_rows(rows, settings)


def _read(told: str) -> tuple[dict[str, float], int]:
    """Return the settings and the number of interactions of a stamp."""
    try:
        values = json.loads(told)
        return dict(values["factors"]), int(values["interactions"])
    except (ValueError, KeyError, TypeError):
        raise CatalogueError(
            "the catalogue's factors are of another kind; `backbeat maintenance reindex` fits them anew"
        ) from None


def rows_of(ids: NDArray[np.str_], names: NDArray[np.str_]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return the rows of names among sorted ids, without those that are not there, and which are there."""
    if not ids.size or not names.size:
        return np.zeros(0, dtype=np.int64), np.zeros(names.size, dtype=np.bool_)
    places = np.minimum(np.searchsorted(ids, names), ids.size - 1)
    there = ids[places] == names
    return places[there].astype(np.int64), np.asarray(there)


def coded(table: InteractionTable, ids: NDArray[np.str_]) -> Events:
    """Return interactions with rows for names; those with other items than `ids`, which are sorted, are left out."""
    rows, there = rows_of(ids, table.items)
    users = np.unique(table.users[there], return_inverse=True)[1].astype(np.int64)
    return Events(users, rows, table.at[there], table.weight[there].astype(np.float32))
