"""What a client asks of a service's catalogue: beats that fit, tracks to hear next, items, what listeners did."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from backbeat.client_calls import Calls
from backbeat.errors import ConfigError

#: Interactions of one request; what a service takes as it comes.
_AT_ONCE = 1000
_PAGE = 500


class CatalogueCalls(Calls):
    """Those of a `Client`; errors of each are as those of `Client.analyze`."""

    def recommend_beat(
        self,
        path: Path | str | None = None,
        *,
        like: str | None = None,
        count: int = 5,
        options: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Return the beats that fit a file here, or an item of the catalogue: "answers", and the "models" asked.

        Parameters
        ----------
        path, like
            The file or the item's id, one of the two.
        count
            How many.
        options
            Other parameters of `POST /v1/recommend/beat`: labels, tempo_min, max_stretch...
        """
        if (path is None) == (like is None):
            raise ConfigError("name a file or an item of the catalogue, one of them")
        asked = {"count": count, **(options or {})}
        if path is not None:
            return self._send("/v1/recommend/beat", path, asked)
        return self._told("POST", "/v1/recommend/beat", params={"like": like, **asked})

    def recommend_tracks(
        self,
        *,
        user: str | None = None,
        likes: Sequence[str] = (),
        count: int = 10,
        options: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Return tracks for a user, or for whoever likes some items; `options` are method, filters, diversity."""
        asked = {"user": user, "likes": list(likes), "count": count, **(options or {})}
        return self._told("POST", "/v1/recommend/tracks", json=asked)

    def catalogue_items(self, kind: str | None = None) -> Iterator[dict[str, Any]]:
        """Give the items of the catalogue in the order of their ids; `kind` is "track" or "beat"."""
        after: str | None = ""
        while after is not None:
            asked = {"after": after, "limit": _PAGE, **({"kind": kind} if kind else {})}
            page = self._told("GET", "/v1/catalogue/items", params=asked)
            yield from page["items"]
            after = page["next"]

    def catalogue_item(self, item: str) -> dict[str, Any]:
        """Return an item with all that was measured of it."""
        return self._told("GET", _item(item))

    def similar(self, item: str, *, count: int = 10, kind: str | None = None) -> list[dict[str, Any]]:
        """Return the items that sound most like one, each with its "score"."""
        asked = {"count": count, **({"kind": kind} if kind else {})}
        answers: list[dict[str, Any]] = self._told("GET", f"{_item(item)}/similar", params=asked)["answers"]
        return answers

    def add_to_catalogue(
        self, path: Path | str, kind: str, *, about: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        """Add a file, and return its item; `about` may have id, title, artist, label, source, licence."""
        return self._send("/v1/catalogue/items", path, {"kind": kind, **(about or {})})

    def remove_from_catalogue(self, item: str) -> dict[str, int]:
        """Remove an item everywhere, and return the rows that went by where they were."""
        removed: dict[str, int] = self._told("DELETE", _item(item))["removed"]
        return removed

    def tell(self, interactions: Sequence[Mapping[str, Any]]) -> int:
        """Tell what listeners did: user, item, kind, and maybe at and id, each; return how many were new."""
        return sum(
            int(self._told("POST", "/v1/interactions", json={"interactions": some})["new"])
            for some in (interactions[at : at + _AT_ONCE] for at in range(0, len(interactions), _AT_ONCE))
        )

    def forget_user(self, user: str) -> dict[str, int]:
        """Have a user forgotten, and return the rows that went by where they were."""
        removed: dict[str, int] = self._told("DELETE", f"/v1/users/{quote(user, safe='')}")["removed"]
        return removed

    def _told(self, method: str, url: str, **how: Any) -> dict[str, Any]:
        answer: dict[str, Any] = self._ask(method, url, **how).json()
        return answer


def _item(item: str) -> str:
    return f"/v1/catalogue/items/{quote(item, safe='')}"
