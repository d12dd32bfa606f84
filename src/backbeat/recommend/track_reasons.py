"""Why a track is recommended, in a sentence."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from backbeat.listening.collaborative import Collaborative
from backbeat.listening.history import History
from backbeat.listening.recommenders import SINGLE
from backbeat.recommend.known import Known

# A likeness below it is none to speak of.
_ALIKE = 0.5
#: So many of the tracks that speak most for one are looked at for listeners of both.
_LOOKED_AT = 5


def reason(known: Known, history: History, item: int, parts: Mapping[str, float], name_of: Callable[[int], str]) -> str:
    """Return a sentence on one track.

    Parameters
    ----------
    known, history
        What is known of all and of the listener.
    item
        The track's row.
    parts
        What each recommender adds to its score; those that add most are what is told.
    name_of
        How a track is called, by its row.
    """
    told = []
    for part in sorted(parts, key=lambda name: -parts[name])[:2]:
        if parts[part] > 0 or len(parts) == 1:
            told += _SENTENCES.get(part, _own)(known, history, item, name_of)
    sentence = "; ".join(dict.fromkeys(told)) or "fits a little of everything that is known"
    return sentence[0].upper() + sentence[1:]


def _popular(known: Known, history: History, item: int, name_of: Callable[[int], str]) -> list[str]:
    count = int(known.listeners[item])
    if not count:
        return ["new here, and nobody played it yet"]
    return ["one listener took to it" if count == 1 else f"{count} listeners took to it, the latest counting most"]


def _alike(known: Known, history: History, item: int, name_of: Callable[[int], str]) -> list[str]:
    content = known.content
    # Of a track that is known already, others are why.
    liked = np.setdiff1d(history.items[history.weights > 0], item)
    if not liked.size:
        return []
    told = []
    same = liked[(content.artists[liked] == content.artists[item]) & (content.artists[item] >= 0)]
    if same.size:
        artist = str(known.tracks.table.artists[known.tracks.rows[item]])
        told.append(f"by {artist}, of whom {name_of(int(same[-1]))} was played")
    likeness = content.vectors[liked] @ content.vectors[item]
    nearest = int(np.argmax(likeness))
    if likeness[nearest] >= _ALIKE:
        told.append(f"sounds like {name_of(int(liked[nearest]))}")
    return told


def _together(known: Known, history: History, item: int, name_of: Callable[[int], str]) -> list[str]:
    found = known.recommender("collaborative")
    if not isinstance(found, Collaborative) or not found.known[item]:
        return []
    items, added = found.contributions(history, item)
    items, added = items[items != item], added[items != item]
    if not items.size or added.max() <= 0:
        return []
    for place in np.argsort(-added, kind="stable")[:_LOOKED_AT].tolist():
        if added[place] > 0 and known.shared(int(items[place]), item):
            return [f"listeners of {name_of(int(items[place]))} play it too"]
    return ["listeners of what you play come to it, by way of others"]


def _circle(known: Known, history: History, item: int, name_of: Callable[[int], str]) -> list[str]:
    return ["is played in the circles that play what you do"]


def _towards(known: Known, history: History, item: int, name_of: Callable[[int], str]) -> list[str]:
    return ["goes where the latest plays were going"]


def _own(known: Known, history: History, item: int, name_of: Callable[[int], str]) -> list[str]:
    return []


_SENTENCES = dict(zip(SINGLE, (_popular, _alike, _together, _circle, _towards), strict=True))
