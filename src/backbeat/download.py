"""Fetching one file over HTTP: with a time-out, a checksum, and nothing left half done.

Proxies are those of the environment (HTTPS_PROXY, NO_PROXY).
"""

from __future__ import annotations

import hashlib
import http.client
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from backbeat.errors import BackbeatError, CorpusUnavailableError
from backbeat.files import atomic_path

#: Called with a file's name, the bytes that have come and the bytes in all, where known.
Progress = Callable[[str, int, int | None], None]

_PIECE_BYTES = 1 << 20


def md5_file(path: Path) -> str:
    """Return the MD5 of a file, which is what mirdata's lists hold."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def fetch(url: str, target: Path, md5: str, *, timeout_s: float, progress: Progress | None = None) -> None:
    """Fetch `url` to `target`, unless a file with the right checksum is there already.

    Parameters
    ----------
    url
        An http or https address.
    target
        Where the file goes; it appears whole or not at all.
    md5
        Its checksum in hexadecimal.
    timeout_s
        The longest wait for a connection, and for the next bytes.
    progress
        Called after each piece.

    Raises
    ------
    CorpusUnavailableError
        If it cannot be fetched or is not what it should be; the message says how to get it by hand.
    """
    if target.is_file() and md5_file(target) == md5:
        return
    by_hand = f"download it by hand, put it at {target} and run again"
    with atomic_path(target) as temporary:
        _receive(url, temporary, timeout_s, progress, CorpusUnavailableError, by_hand, target.name)
        found = md5_file(temporary)
        if found != md5:
            raise CorpusUnavailableError(f"{url} is not the file expected: its MD5 is {found}, not {md5}; {by_hand}")


def fetch_resumably(
    url: str,
    target: Path,
    *,
    timeout_s: float,
    progress: Progress | None = None,
    failure: type[BackbeatError],
    by_hand: str,
) -> None:
    """Fetch `url` to `target`, going on where an earlier try broke off.

    What has come stays in a hidden file beside `target` until all of it is there; whether it is the right file is for
    the caller to see.

    Parameters
    ----------
    url, target, timeout_s, progress
        As in `fetch`.
    failure
        What is raised when it cannot be fetched.
    by_hand
        What the user can do then, in the words that end the message.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.part")
    _receive(url, part, timeout_s, progress, failure, by_hand, target.name)
    part.replace(target)


def _receive(
    url: str,
    into: Path,
    timeout_s: float,
    progress: Progress | None,
    failure: type[BackbeatError],
    by_hand: str,
    name: str,
) -> None:
    """Append what `into` lacks of `url`, or write it anew where the server does not give parts."""
    if not url.startswith(("http://", "https://")):
        raise failure(f"cannot download {url}: not a web address; {by_hand}")
    have = into.stat().st_size if into.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})  # noqa: S310 (checked)
    try:
        with urllib.request.urlopen(request, timeout=timeout_s) as answer:  # noqa: S310 (checked above)
            have, total = _place(answer, have)
            with into.open("r+b" if have else "wb") as out:
                out.seek(have)
                while piece := answer.read(_PIECE_BYTES):
                    out.write(piece)
                    have += len(piece)
                    if progress:
                        progress(name, have, total)
                out.truncate()
        if total is not None and have != total:
            raise failure(f"cannot download {url}: {have} of {total} bytes came; {by_hand}")
    except urllib.error.HTTPError as error:
        if error.code == 416 and have:
            if error.headers.get("Content-Range", "").endswith(f"/{have}"):
                return  # all of it has come
            into.unlink()  # what has come is of another file
            _receive(url, into, timeout_s, progress, failure, by_hand, name)
            return
        raise failure(f"cannot download {url}: {error.code} {error.reason}; {by_hand}") from None
    except (OSError, http.client.HTTPException) as error:
        cause = getattr(error, "reason", None) or error
        if isinstance(cause, TimeoutError):
            cause = f"no answer within {timeout_s:g} s"
        raise failure(f"cannot download {url}: {cause}; {by_hand}") from None


def _place(answer: Any, have: int) -> tuple[int, int | None]:
    """Return the byte at which an answer begins, and the bytes that the whole file has, where known."""
    span, _, whole = answer.headers.get("Content-Range", "").removeprefix("bytes ").partition("/")
    if answer.status == 206 and span.startswith(f"{have}-"):
        return have, int(whole) if whole.isdecimal() else None
    length = answer.headers.get("Content-Length")
    return 0, int(length) if length and length.isdecimal() else None
