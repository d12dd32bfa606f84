"""Fetching one file over HTTP: with a time-out, a checksum, and nothing left half done."""

from __future__ import annotations

import hashlib
import http.client
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from backbeat.errors import CorpusUnavailableError
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
    if not url.startswith(("http://", "https://")):
        raise CorpusUnavailableError(f"cannot download {url}: not a web address; {by_hand}")
    digest = hashlib.md5(usedforsecurity=False)
    try:
        with atomic_path(target) as temporary:
            # The scheme was checked above.
            with urllib.request.urlopen(url, timeout=timeout_s) as answer, temporary.open("wb") as out:  # noqa: S310
                length = answer.headers.get("Content-Length")
                total = int(length) if length and length.isdecimal() else None
                received = 0
                while piece := answer.read(_PIECE_BYTES):
                    out.write(piece)
                    digest.update(piece)
                    received += len(piece)
                    if progress:
                        progress(target.name, received, total)
            if total is not None and received != total:
                raise CorpusUnavailableError(f"cannot download {url}: {received} of {total} bytes came; {by_hand}")
            if digest.hexdigest() != md5:
                found = digest.hexdigest()
                raise CorpusUnavailableError(
                    f"{url} is not the file expected: its MD5 is {found}, not {md5}; {by_hand}"
                )
    except urllib.error.HTTPError as error:
        raise CorpusUnavailableError(f"cannot download {url}: {error.code} {error.reason}; {by_hand}") from None
    except (OSError, http.client.HTTPException) as error:
        cause = getattr(error, "reason", None) or error
        if isinstance(cause, TimeoutError):
            cause = f"no answer within {timeout_s:g} s"
        raise CorpusUnavailableError(f"cannot download {url}: {cause}; {by_hand}") from None
