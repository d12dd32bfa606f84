"""Jobs of every kind: given with a file, looked at, fetched, cancelled."""

from __future__ import annotations

import mimetypes
import re
import shutil
import tempfile
import unicodedata
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import anyio
import structlog
from fastapi import APIRouter
from pydantic import BaseModel, Field
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import FileResponse, Response

from backbeat.errors import ConfigError
from serving.access import Caller
from serving.jobs import INPUT, Job, JobStore
from serving.problems import JOBS_AWAY, Problem
from serving.routes.common import GUARDED, allowed, described, scanned
from serving.uploads import Upload

router = APIRouter(prefix="/v1", tags=["jobs"])

_LOG = structlog.get_logger("serving.jobs")
_BYTES = "application/octet-stream"
#: What no name of a file may have on one system or another, and how many bytes fit, with room for an ending.
_NO_FILE_NAME, _LONGEST_NAME = re.compile(r'[<>:"/\\|?*]'), 240
#: Whose jobs may be any.
_ALLOWED = allowed("separate", "chart")
_JOB = [*GUARDED, "not_found", "not_ready"]


class JobError(BaseModel):
    """Why a job failed."""

    code: str
    message: str


class JobAnswer(BaseModel):
    """A job as it stands."""

    id: str
    kind: str = Field(description="separate or chart.")
    state: str
    progress: float
    created: datetime
    expires: datetime
    model: str | None = Field(description="What separates; None of a chart.")
    stems: list[str] = Field(description="Of a separation that is done.")
    files: list[str] = Field(description="What can be fetched, by these names, of a job that is done.")
    report: dict[str, Any] | None = Field(description="Of a chart that is done, where one job is asked for.")
    error: JobError | None


class JobsAnswer(BaseModel):
    """Jobs, the latest first."""

    jobs: list[JobAnswer]


def told(job: Job, report: dict[str, Any] | None = None) -> JobAnswer:
    """Return what is answered of a job."""
    return JobAnswer(
        id=job.id,
        kind=job.kind,
        state=job.state,
        progress=round(job.progress, 4),
        created=datetime.fromtimestamp(job.created, UTC),
        expires=datetime.fromtimestamp(job.expires, UTC),
        model=job.request.get("model"),
        stems=sorted(job.files) if job.kind == "separate" else [],
        files=sorted(job.files),
        report=report,
        error=JobError(code=job.code, message=job.message or "") if job.code else None,
    )


async def store_of(request: Request) -> JobStore:
    """Return the jobs; their database is opened when it is first asked for."""
    state = request.app.state
    found: JobStore | None = state.jobs
    if found is None:
        try:
            opened = await anyio.to_thread.run_sync(JobStore.of, state.settings)
        except ConfigError as error:
            # It is away: that is not the caller's doing, and how it is reached not their business.
            _LOG.error("jobs_away", message=str(error))
            raise JOBS_AWAY from None
        found = state.jobs = state.jobs or opened
        if found is not opened:
            opened.close()  # another request was quicker
    return found


async def _mine(request: Request, caller: Caller, identity: str) -> Job:
    """Return a job of the caller's; for others there is none."""
    job = await anyio.to_thread.run_sync((await store_of(request)).get, identity)
    if job is None or (job.owner != caller.name and "admin" not in caller.scopes):
        raise Problem("not_found", "there is no such job, or it has expired")
    return job


async def given(
    request: Request, response: Response, caller: Caller, asked: Callable[[Upload], dict[str, Any]]
) -> JobAnswer:
    """Make a job of the file of a request: what is asked for is `asked` of the file, with its kind.

    Raises
    ------
    Problem
        If too many jobs wait, or the file cannot be taken.
    """
    store = await store_of(request)
    if (await anyio.to_thread.run_sync(store.counts)).get("queued", 0) >= request.app.state.settings.jobs.waiting:
        raise Problem("too_many", "too many jobs wait", {"Retry-After": "60"})
    async with scanned(request) as (files, _):
        job = await anyio.to_thread.run_sync(_queued, store, caller.name, files[0], asked(files[0]))
    response.headers["Location"] = f"/v1/jobs/{job.id}"
    return told(job)


def _queued(store: JobStore, owner: str, file: Upload, asked: dict[str, Any]) -> Job:
    identity = store.new_id()
    place = store.place(identity)
    place.mkdir()
    try:
        shutil.move(file.path, place / INPUT)
        return store.add(identity, owner, asked)
    except BaseException:
        shutil.rmtree(place, ignore_errors=True)
        raise


@router.get("/jobs", openapi_extra=described([*GUARDED, "not_ready"]))
async def jobs(request: Request, caller: Annotated[Caller, _ALLOWED]) -> JobsAnswer:
    """List your jobs, the latest first; with the scope `admin` those of all."""
    owner = None if "admin" in caller.scopes else caller.name
    found = await anyio.to_thread.run_sync((await store_of(request)).of_owner, owner)
    return JobsAnswer(jobs=[told(job) for job in found])


@router.get("/jobs/{identity}", openapi_extra=described(_JOB))
async def job(request: Request, identity: str, caller: Annotated[Caller, _ALLOWED]) -> JobAnswer:
    """Tell how a job stands."""
    found = await _mine(request, caller, identity)
    return told(found, await anyio.to_thread.run_sync((await store_of(request)).report, found))


@router.delete("/jobs/{identity}", openapi_extra=described(_JOB))
async def cancel(request: Request, identity: str, caller: Annotated[Caller, _ALLOWED]) -> JobAnswer:
    """Cancel a job that has not ended; what one has made is removed when it expires."""
    store = await store_of(request)
    await _mine(request, caller, identity)
    await anyio.to_thread.run_sync(store.cancel, identity)
    return told(await _mine(request, caller, identity))


def _done(job: Job) -> Job:
    if job.state != "done":
        raise Problem("conflict", f"the job is {job.state}; only one that is done has files")
    return job


@router.get(
    "/jobs/{identity}/result",
    response_class=FileResponse,
    responses={200: {"content": {"application/zip": {}}, "description": "All files"}},
    openapi_extra=described([*_JOB, "conflict"]),
)
async def result(request: Request, identity: str, caller: Annotated[Caller, _ALLOWED]) -> FileResponse:
    """Fetch all files, stems or those of a chart, as a ZIP."""
    found = _done(await _mine(request, caller, identity))
    place = (await store_of(request)).output(found)
    path = await anyio.to_thread.run_sync(_zipped, place, sorted(found.files.values()))
    return FileResponse(
        path,
        media_type="application/zip",
        filename=f"{_title(found)}.zip",
        background=BackgroundTask(path.unlink, missing_ok=True),
    )


def _title(job: Job) -> str:
    """Return what the files of a job are called together, fit for any file system."""
    if job.kind == "separate":
        return "stems"
    title = job.request["options"]["title"] or job.request["name"]
    shown = "".join(char for char in title if unicodedata.category(char)[0] != "C")
    fits = _NO_FILE_NAME.sub("_", shown).encode()[:_LONGEST_NAME].decode(errors="ignore")
    return fits.strip(" .") or "chart"


def _zipped(place: Path, names: list[str]) -> Path:
    with tempfile.NamedTemporaryFile(prefix="backbeat-zip-", delete=False) as stream:
        path = Path(stream.name)
        try:
            # Sound does not get smaller by it.
            with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
                for name in names:
                    archive.write(place / name, name)
        except BaseException as error:
            path.unlink()
            if isinstance(error, FileNotFoundError):
                raise Problem("not_found", "the files are gone") from None
            raise
    return path


@router.get(
    "/jobs/{identity}/result/{name}",
    response_class=FileResponse,
    responses={
        200: {
            "content": {kind: {} for kind in ("audio/*", "image/png", "application/json", _BYTES)},
            "description": "One file",
        }
    },
    openapi_extra=described([*_JOB, "conflict"]),
)
async def one_file(request: Request, identity: str, name: str, caller: Annotated[Caller, _ALLOWED]) -> FileResponse:
    """Fetch one file: a stem, or one of those of a chart."""
    found = _done(await _mine(request, caller, identity))
    if name not in found.files:
        raise Problem("not_found", f"the job has no such file; it has {', '.join(sorted(found.files))}")
    path = (await store_of(request)).output(found) / found.files[name]
    if not path.is_file():
        raise Problem("not_found", "the file is gone")
    # What is no sound or picture is bytes: a chart is text, but not in UTF-8.
    kind = mimetypes.guess_type(path.name)[0] or _BYTES
    return FileResponse(path, media_type=kind, filename=path.name)
