"""Files that callers send: counted while they come, kept under names of ours, removed whatever happens."""

from __future__ import annotations

import shutil
import tempfile
import time
import unicodedata
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
from starlette.datastructures import FormData, UploadFile
from starlette.requests import Request

from serving.problems import Problem

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]

#: What a form may hold beside its files.
_FORM_BYTES = 1 << 16
_FIELDS = 32
_COPY_BYTES = 1 << 20
_FOLDER = "backbeat-upload-"
#: Types of a body that is the file itself.
_RAW = ("audio/", "video/", "application/octet-stream", "application/ogg")

_SUFFIXES = {"mp4": ".m4a", "asf": ".wma", "matroska": ".mka", "mpegts": ".mka", "flv": ".mka"}


@dataclass(frozen=True)
class Upload:
    """A file that was sent: where it lies, what the caller calls it, and its bytes."""

    path: Path
    name: str
    size: int


def plain_name(name: str | None) -> str:
    """Return what a caller calls a file, fit to be shown: without folders and control characters, and not too long."""
    last = (name or "").replace("\\", "/").rpartition("/")[2]
    shown = "".join(char for char in last if unicodedata.category(char)[0] != "C")
    return shown[:255] or "audio"


def suffix_of(path: Path) -> str:
    """Return what the name of a recording ends in, by its content."""
    from backbeat.audio.find import AUDIO_SUFFIXES
    from backbeat.audio.sniff import identify

    with path.open("rb") as stream:
        container = identify(stream).container or ""
    suffix = _SUFFIXES.get(container, f".{container}")
    return suffix if suffix in AUDIO_SUFFIXES else ".mka"


def too_large(max_bytes: int) -> Problem:
    """Return what a body of too many bytes is answered."""
    return Problem("too_large", f"the body has more than {max_bytes:,} bytes", {"Connection": "close"})


def limited(receive: Receive, max_bytes: int, seconds: float) -> Receive:
    """Return a `receive` that lets so many bytes of a body through in so many seconds; then it raises Problem."""
    come = 0
    deadline = anyio.current_time() + seconds
    ended = False

    async def counted() -> Message:
        nonlocal come, ended
        if ended:
            return await receive()
        try:
            with anyio.fail_after(max(0.0, deadline - anyio.current_time())):
                message = await receive()
        except TimeoutError:
            raise Problem("too_slow", f"the body did not come within {seconds:g} s", {"Connection": "close"}) from None
        come += len(message.get("body", b""))
        ended = message["type"] != "http.request" or not message.get("more_body", False)
        if come > max_bytes:
            raise too_large(max_bytes)
        return message

    return counted


@asynccontextmanager
async def uploads(request: Request, max_files: int) -> AsyncIterator[tuple[list[Upload], FormData]]:
    """Take the files of a request: parts called `file` of a form, or the body itself; and the form's other fields.

    Raises
    ------
    Problem
        If there is no file, there are too many, or what should be a file is something else.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    folder = Path(await anyio.to_thread.run_sync(lambda: tempfile.mkdtemp(prefix=_FOLDER)))
    try:
        if kind == "multipart/form-data":
            async with request.form(max_files=max(max_files, 2), max_fields=_FIELDS, max_part_size=_FORM_BYTES) as form:
                if max_files == 1 and len(form.getlist("file")) > 1:
                    raise Problem("wrong_value", "one file is taken here; /v1/analyze/batch takes several")
                files = []
                for number, part in enumerate(form.getlist("file")):
                    if not isinstance(part, UploadFile):
                        # An address here is not fetched.
                        raise Problem("wrong_value", "the field `file` must be a file that is sent, not a text")
                    files.append(await _copied(part, folder / str(number)))
                if any(isinstance(part, UploadFile) and name != "file" for name, part in form.multi_items()):
                    raise Problem("wrong_value", "files are sent in fields called `file`")
                if not files:
                    raise Problem("wrong_value", "no file was sent: send it as the field `file` of a form")
                yield files, form
        elif kind.startswith(_RAW):
            yield [await _streamed(request, folder / "0")], FormData()
        else:
            message = (
                f"send a form (multipart/form-data) with a field `file`, or the file itself, not {kind or 'nothing'}"
            )
            raise Problem("wrong_type", message)
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(lambda: shutil.rmtree(folder, ignore_errors=True))


def sweep(older_s: float) -> None:
    """Remove the files of requests whose process was killed: no request is as old."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_FOLDER}*"):
        with suppress(OSError):  # another process has swept it
            if time.time() - folder.stat().st_mtime > older_s:
                shutil.rmtree(folder, ignore_errors=True)


async def _copied(part: UploadFile, path: Path) -> Upload:
    def copy() -> int:
        part.file.seek(0)
        with path.open("wb") as out:
            shutil.copyfileobj(part.file, out, _COPY_BYTES)
            return out.tell()

    return Upload(path, plain_name(part.filename), await anyio.to_thread.run_sync(copy))


async def _streamed(request: Request, path: Path) -> Upload:
    size = 0
    async with await anyio.open_file(path, "wb") as out:
        async for piece in request.stream():
            if piece:
                size += len(piece)
                await out.write(piece)
    if not size:
        raise Problem("wrong_value", "no file was sent: the body is empty")
    return Upload(path, "audio", size)
