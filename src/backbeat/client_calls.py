"""How a client asks a service: again while that is busy, with its errors as ours."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import httpx

from backbeat.errors import AudioNotFoundError, ConfigError, ServiceError

_BUSY = (429, 503)
_LONGEST_PAUSE_S = 30.0


class Calls:
    """Asks a service; the arguments are those of `backbeat.client.Client`."""

    def __init__(self, url: str, key: str | None = None, *, timeout_s: float = 300.0, patience_s: float = 60.0) -> None:
        if not url.startswith(("http://", "https://")):
            raise ConfigError(f"{url!r} is no address of a service: http://HOST:PORT or https://...")
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._url, self._patience_s = url, patience_s
        #: Of the last answer: by it the answer can be traced and corrected.
        self.request_id = ""
        self._http = httpx.Client(base_url=url, headers=headers, timeout=timeout_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of connections."""
        self._http.close()

    def _send(
        self, url: str, path: Path | str, parameters: Mapping[str, Any], form: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        path = Path(path)
        if not path.is_file():
            raise AudioNotFoundError(path, "is no file" if path.exists() else "there is no such file")
        with path.open("rb") as stream:
            file = {"file": (path.name, stream)}
            answer = self._ask("POST", url, params=parameters, data=form, files=file, rewind=stream)
        told: dict[str, Any] = answer.json()
        return told

    def _ask(self, method: str, url: str, rewind: Any = None, **how: Any) -> httpx.Response:
        """Ask, again while the service is busy; ServiceError when it refuses."""
        until = time.monotonic() + self._patience_s
        while True:
            try:
                answer = self._http.request(method, url, **how)
            except httpx.HTTPError as error:
                raise self._away(error) from None
            except httpx.InvalidURL as error:
                raise ConfigError(f"what is asked for cannot be put into an address: {error}") from None
            self.request_id = answer.headers.get("x-request-id", "")
            if answer.is_success:
                return answer
            problem = refused(answer)
            told = answer.headers.get("retry-after", "")
            pause_s = min(float(told) if told.isdigit() else _LONGEST_PAUSE_S, _LONGEST_PAUSE_S)
            if answer.status_code not in _BUSY or not told or time.monotonic() + pause_s > until:
                raise problem
            time.sleep(pause_s)
            if rewind is not None:
                rewind.seek(0)

    def _away(self, error: httpx.HTTPError) -> ServiceError:
        cause = str(error) or type(error).__name__
        return ServiceError("away", f"{self._url}: the service cannot be reached: {cause}", "")


def refused(answer: httpx.Response) -> ServiceError:
    """Return what an answer that is an error says."""
    try:
        error = answer.json()["error"]
        return ServiceError(error["code"], error["message"], error["request_id"])
    except (ValueError, KeyError, TypeError):
        return ServiceError("unknown", f"{answer.url}: answered {answer.status_code}, and not as this service does", "")
