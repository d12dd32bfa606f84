"""Separation as jobs: given with a file, looked at, fetched, cancelled."""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import anyio
import structlog
from fastapi import APIRouter, Query
from pydantic import BaseModel
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import FileResponse, Response

from backbeat.audio.encode import SUFFIX_CODECS
from backbeat.errors import ConfigError, ModelError
from backbeat.settings import listed
from serving.access import Caller
from serving.jobs import INPUT, OUTPUT, Job, JobStore
from serving.problems import JOBS_AWAY, Problem
from serving.routes.common import FILES, GUARDED, allowed, body, described, scanned
from serving.uploads import Upload

router = APIRouter(prefix="/v1", tags=["jobs"])

_LOG = structlog.get_logger("serving.jobs")
_FORMATS = ", ".join(sorted(name[1:] for name in SUFFIX_CODECS))
_JOB = [*GUARDED, "not_found", "not_ready"]


class JobError(BaseModel):
    """Why a job failed."""

    code: str
    message: str


class JobAnswer(BaseModel):
    """A job as it stands."""

    id: str
    state: str
    progress: float
    created: datetime
    expires: datetime
    model: str
    stems: list[str]
    error: JobError | None


class JobsAnswer(BaseModel):
    """Jobs, the latest first."""

    jobs: list[JobAnswer]


def _told(job: Job) -> JobAnswer:
    return JobAnswer(
        id=job.id,
        state=job.state,
        progress=round(job.progress, 4),
        created=datetime.fromtimestamp(job.created, UTC),
        expires=datetime.fromtimestamp(job.expires, UTC),
        model=job.request["model"],
        stems=sorted(job.files),
        error=JobError(code=job.code, message=job.message or "") if job.code else None,
    )


async def _store(request: Request) -> JobStore:
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
    job = await anyio.to_thread.run_sync((await _store(request)).get, identity)
    if job is None or (job.owner != caller.name and "admin" not in caller.scopes):
        raise Problem("not_found", "there is no such job, or it has expired")
    return job


@router.post(
    "/separate",
    status_code=202,
    openapi_extra=described([*FILES, "conflict"], **body()),
)
async def separate(
    request: Request,
    response: Response,
    caller: Annotated[Caller, allowed("separate")],
    model: Annotated[str, Query(description="spleeter:2stems, 4stems or 5stems.")] = "spleeter:2stems",
    stems: Annotated[str | None, Query(description="Stems to make, with commas between; all when left out.")] = None,
    format: Annotated[str, Query(description=f"One of {_FORMATS}.")] = "wav",
    bits: Annotated[int, Query(description="16, 24 or 32 where the format has depths.")] = 16,
    bitrate: Annotated[int | None, Query(description="Kilobits a second of lossy formats.", ge=1, le=10000)] = None,
    rate: Annotated[int | None, Query(description="Sample rate in Hz; the file's when left out.")] = None,
    highpass: Annotated[float | None, Query(description="Take away what is below, in Hz.")] = None,
    loudness: Annotated[float | None, Query(description="Loudness in LUFS at which the network hears.")] = None,
    denoise: Annotated[float | None, Query(description="Share of steady noise to take away, up to 1.")] = None,
    silence: Annotated[float | None, Query(description="Spare the network where nothing is above this, in dB.")] = None,
) -> JobAnswer:
    """Separate a file into stems: gives a job, to be looked at under `/v1/jobs/{id}`."""
    # Here, since torch comes with it: the process is to answer before that is there.
    from backbeat.separation.files import Preparation, SeparationOptions, StemFormat
    from backbeat.separation.store import OFFICIAL, find, parse_name

    store, settings = await _store(request), request.app.state.settings
    names = None if stems is None else listed(stems)
    how = StemFormat(format.lower(), bits, None if bitrate is None else 1000 * bitrate, rate)
    options = SeparationOptions(names, how, Preparation(highpass, loudness, denoise, silence))
    try:
        kind, _ = parse_name(model)
    except ModelError as error:
        raise Problem("wrong_value", f"model: {error}") from None
    options.check(OFFICIAL[kind].params.instruments)
    try:
        await anyio.to_thread.run_sync(find, model)
    except ModelError as error:
        raise Problem("conflict", str(error)) from None
    if (await anyio.to_thread.run_sync(store.counts)).get("queued", 0) >= settings.jobs.waiting:
        raise Problem("too_many", "too many jobs wait", {"Retry-After": "60"})
    async with scanned(request) as (files, _):
        identity = store.new_id()
        asked = {"model": model, "options": options.to_dict()}
        job = await anyio.to_thread.run_sync(_give, store, identity, caller.name, files[0], asked)
    response.headers["Location"] = f"/v1/jobs/{job.id}"
    return _told(job)


def _give(store: JobStore, identity: str, owner: str, file: Upload, asked: dict[str, Any]) -> Job:
    place = store.place(identity)
    place.mkdir()
    try:
        shutil.move(file.path, place / INPUT)
        return store.add(identity, owner, asked)
    except BaseException:
        shutil.rmtree(place, ignore_errors=True)
        raise


@router.get("/jobs", openapi_extra=described([*GUARDED, "not_ready"]))
async def jobs(request: Request, caller: Annotated[Caller, allowed("separate")]) -> JobsAnswer:
    """List your jobs, the latest first; with the scope `admin` those of all."""
    owner = None if "admin" in caller.scopes else caller.name
    found = await anyio.to_thread.run_sync((await _store(request)).of_owner, owner)
    return JobsAnswer(jobs=[_told(job) for job in found])


@router.get("/jobs/{identity}", openapi_extra=described(_JOB))
async def job(request: Request, identity: str, caller: Annotated[Caller, allowed("separate")]) -> JobAnswer:
    """Tell how a job stands."""
    return _told(await _mine(request, caller, identity))


@router.delete("/jobs/{identity}", openapi_extra=described(_JOB))
async def cancel(request: Request, identity: str, caller: Annotated[Caller, allowed("separate")]) -> JobAnswer:
    """Cancel a job that has not ended; what one has made is removed when it expires."""
    store = await _store(request)
    await _mine(request, caller, identity)
    await anyio.to_thread.run_sync(store.cancel, identity)
    return _told(await _mine(request, caller, identity))


def _done(job: Job) -> Job:
    if job.state != "done":
        raise Problem("conflict", f"the job is {job.state}; only one that is done has stems")
    return job


@router.get(
    "/jobs/{identity}/result",
    response_class=FileResponse,
    responses={200: {"content": {"application/zip": {}}, "description": "All stems"}},
    openapi_extra=described([*_JOB, "conflict"]),
)
async def result(request: Request, identity: str, caller: Annotated[Caller, allowed("separate")]) -> FileResponse:
    """Fetch all stems, as a ZIP."""
    found = _done(await _mine(request, caller, identity))
    place = (await _store(request)).place(identity) / OUTPUT
    path = await anyio.to_thread.run_sync(_zipped, place, sorted(found.files.values()))
    return FileResponse(
        path,
        media_type="application/zip",
        filename="stems.zip",
        background=BackgroundTask(path.unlink, missing_ok=True),
    )


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
                raise Problem("not_found", "the stems are gone") from None
            raise
    return path


@router.get(
    "/jobs/{identity}/result/{stem}",
    response_class=FileResponse,
    responses={200: {"content": {"audio/*": {}}, "description": "One stem"}},
    openapi_extra=described([*_JOB, "conflict"]),
)
async def one_stem(
    request: Request, identity: str, stem: str, caller: Annotated[Caller, allowed("separate")]
) -> FileResponse:
    """Fetch one stem."""
    found = _done(await _mine(request, caller, identity))
    if stem not in found.files:
        raise Problem("not_found", f"the job has no such stem; it has {', '.join(sorted(found.files))}")
    path = (await _store(request)).place(identity) / OUTPUT / found.files[stem]
    if not path.is_file():
        raise Problem("not_found", "the stem is gone")
    return FileResponse(path, filename=found.files[stem])
