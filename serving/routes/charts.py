"""Drum charts of a file: a job."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import anyio
from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from backbeat.errors import AnnotationError
from backbeat.music import TimeSignature
from backbeat.settings import listed
from serving.access import Caller
from serving.problems import Problem
from serving.routes.common import FILES, allowed, body, described, line
from serving.routes.jobs import JobAnswer, given
from serving.routes.separation import must_be_installed, stems_of
from serving.uploads import Upload

if TYPE_CHECKING:
    from backbeat.charts.making import ChartOptions

router = APIRouter(prefix="/v1", tags=["jobs"])

#: Characters of a title, or an artist; and of what else is short.
_LONGEST, _SHORT = 300, 100
#: What `separation` may be instead of a model.
_BY_ITSELF = ("auto", "none")


@router.post("/chart", status_code=202, openapi_extra=described([*FILES, "conflict"], **body()))
async def chart(
    request: Request,
    response: Response,
    caller: Annotated[Caller, allowed("chart")],
    title: Annotated[
        str | None,
        Query(description="That of the file's tags, or the file's name, when left out.", max_length=_LONGEST),
    ] = None,
    artist: Annotated[
        str | None, Query(description="That of the file's tags, or nobody, when left out.", max_length=_LONGEST)
    ] = None,
    tiers: Annotated[
        str,
        Query(description="Difficulties to write, with commas between: basic, advanced, extreme.", max_length=_SHORT),
    ] = "basic,advanced,extreme",
    time_signature: Annotated[
        str | None, Query(description="Of all bars, 6/8 say; as they are heard when left out.", max_length=_SHORT)
    ] = None,
    bpm: Annotated[
        float | None, Query(description="Quarter notes a minute, 20 to 400; as they are heard when left out.")
    ] = None,
    expressive: Annotated[bool, Query(description="Keep the player's timing instead of a grid.")] = False,
    rock: Annotated[bool, Query(description="Expect drumming as in rock and pop.")] = False,
    ensemble: Annotated[bool, Query(description="Let several hearings of the song vote.")] = False,
    multi_scale: Annotated[bool, Query(description="Hear at several resolutions.")] = False,
    advanced_features: Annotated[
        bool, Query(description="Tell drums apart a second time, by the sound of each stroke.")
    ] = False,
    separation: Annotated[
        str,
        Query(
            description="Hear the drums alone by this model, spleeter:4stems or 5stems; none: hear the song as it is; "
            "auto: by a model that is installed, if any.",
            max_length=_SHORT,
        ),
    ] = "auto",
    plot: Annotated[bool, Query(description="Draw a picture of the chart.")] = True,
) -> JobAnswer:
    """Write drum charts of a file (DTX, MIDI, music, sounds): gives a job, to be looked at under `/v1/jobs/{id}`."""
    if separation not in _BY_ITSELF and "drums" not in stems_of(separation, "separation"):
        raise Problem("wrong_value", f"separation: {separation} makes no drums: name spleeter:4stems or 5stems")

    def options() -> ChartOptions:
        # Here, since much comes with it; and beside the requests.
        from backbeat.charts.making import ChartOptions
        from backbeat.charts.transcription.transcribe import Modes

        return ChartOptions(
            title=line("title", title),
            artist=line("artist", artist),
            tiers=listed(tiers),
            time_signature=None if time_signature is None else _signature(time_signature),
            bpm=bpm,
            expressive=expressive,
            modes=Modes(rock, ensemble, multi_scale, advanced_features),
            separation=separation,
            plot=plot,
        )

    asked = await anyio.to_thread.run_sync(options)
    if separation not in _BY_ITSELF:
        await must_be_installed(separation)

    def of(file: Upload) -> dict[str, Any]:
        return {"kind": "chart", "name": Path(file.name).stem, "options": asked.to_dict()}

    return await given(request, response, caller, of)


def _signature(text: str) -> TimeSignature:
    try:
        return TimeSignature.parse(text)
    except AnnotationError as error:
        raise Problem("wrong_value", f"time_signature: {error}") from None
