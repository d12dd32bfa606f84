"""Stems of a file: a job."""

from __future__ import annotations

from typing import Annotated

import anyio
from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from backbeat.audio.encode import SUFFIX_CODECS
from backbeat.errors import ModelError
from backbeat.settings import listed
from serving.access import Caller
from serving.problems import Problem
from serving.routes.common import FILES, allowed, body, described
from serving.routes.jobs import JobAnswer, given

router = APIRouter(prefix="/v1", tags=["jobs"])

_FORMATS = ", ".join(sorted(name[1:] for name in SUFFIX_CODECS))


def stems_of(model: str, parameter: str = "model") -> tuple[str, ...]:
    """Return the stems that the model named by a parameter makes; Problem where there is none of that name."""
    # Here, since torch comes with it: the process is to answer before that is there.
    from backbeat.separation.store import OFFICIAL, parse_name

    try:
        kind, _ = parse_name(model)
    except ModelError as error:
        raise Problem("wrong_value", f"{parameter}: {error}") from None
    return tuple(OFFICIAL[kind].params.instruments)


async def must_be_installed(model: str) -> None:
    """Raise Problem where a separation model was not pulled."""
    from backbeat.separation.store import find

    try:
        await anyio.to_thread.run_sync(find, model)
    except ModelError as error:
        raise Problem("conflict", str(error)) from None


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
    from backbeat.separation.files import Preparation, SeparationOptions, StemFormat

    names = None if stems is None else listed(stems)
    how = StemFormat(format.lower(), bits, None if bitrate is None else 1000 * bitrate, rate)
    options = SeparationOptions(names, how, Preparation(highpass, loudness, denoise, silence))
    options.check(stems_of(model))
    await must_be_installed(model)
    asked = {"kind": "separate", "model": model, "options": options.to_dict()}
    return await given(request, response, caller, lambda _: asked)
