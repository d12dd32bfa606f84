"""What goes wrong, in one shape: ``{"error": {"code", "message", "request_id"}}`` and the right status."""

from __future__ import annotations

from typing import Any

from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException

from backbeat.errors import (
    AudioError,
    AudioLimitError,
    BackbeatError,
    CatalogueError,
    ConfigError,
    ModelError,
    MonitoringError,
    ResourceError,
    TimeLimitError,
    UnknownItemError,
    UnsupportedAudioError,
)

#: Status, code and meaning of every error that an endpoint can give beyond those of a single one.
CODES: dict[str, tuple[int, str]] = {
    "bad_request": (400, "The request cannot be read."),
    "no_access": (401, "A key or token is missing or not valid."),
    "not_allowed": (403, "The key may not do this, or requests from here are not let in."),
    "not_found": (404, "There is no such thing here."),
    "unknown_item": (404, "The catalogue has no such track, beat or user."),
    "wrong_method": (405, "The path has no such method."),
    "too_slow": (408, "The upload took too long."),
    "conflict": (409, "What is asked for does not fit the state of things."),
    "not_in_catalogue": (409, "The catalogue has nothing that fits, or has already what is to be added."),
    "too_large": (413, "The file has more bytes or seconds than are allowed."),
    "unsupported_audio": (415, "The file is no audio, is protected, or is in a format that nothing here decodes."),
    "wrong_type": (415, "The body is not of a type that this endpoint takes."),
    "unheard_audio": (422, "The file is damaged, empty or silent."),
    "refused_file": (422, "The virus scanner refused the file."),
    "wrong_value": (422, "A parameter makes no sense."),
    "too_many": (429, "The service is busy or the caller too quick; Retry-After says when to come again."),
    "fault": (500, "The service is at fault; the request id finds it in the logs."),
    "not_ready": (503, "A model, the scanner or another part is not there."),
    "no_room": (503, "Memory or disk is full."),
    "timed_out": (504, "The work took longer than is allowed."),
}
_LONGEST = 400


class Problem(HTTPException):
    """An error that is the caller's to read.

    Parameters
    ----------
    code
        One of `CODES`.
    message
        One line that says what is wrong and what to do.
    headers
        To be sent with it.
    """

    def __init__(self, code: str, message: str, headers: dict[str, str] | None = None) -> None:
        # What a caller sent may be part of it, and long.
        shown = message if len(message) <= _LONGEST else f"{message[: _LONGEST - 1]}…"
        super().__init__(CODES[code][0], shown, headers)
        self.code = code


#: The database of jobs does not answer.
JOBS_AWAY = Problem("not_ready", "jobs cannot be looked at at the moment", {"Retry-After": "10"})


#: Nor does that of monitoring.
MONITORING_AWAY = Problem("not_ready", "monitoring cannot be looked at at the moment", {"Retry-After": "10"})


#: Nor does the catalogue.
CATALOGUE_AWAY = Problem("not_ready", "the catalogue cannot be looked at at the moment", {"Retry-After": "10"})


def problem_of(error: BackbeatError) -> Problem:
    """Return what an error of ours is to a caller; names of files here do not go out."""
    if isinstance(error, AudioLimitError):
        return Problem("too_large", f"the file {error.cause}")
    if isinstance(error, UnsupportedAudioError):
        return Problem("unsupported_audio", f"the file {error.cause}")
    if isinstance(error, AudioError):
        return Problem("unheard_audio", f"the file {error.cause}")
    if isinstance(error, TimeLimitError):
        return Problem("timed_out", str(error))
    if isinstance(error, ResourceError):
        return Problem("no_room", "memory or disk is full here: try again later", {"Retry-After": "30"})
    if isinstance(error, ModelError):
        return Problem("not_ready", "a model that this needs is not there; the logs of the service say which")
    if isinstance(error, MonitoringError):
        return MONITORING_AWAY
    if isinstance(error, UnknownItemError):
        return Problem("unknown_item", str(error))
    if isinstance(error, CatalogueError) and isinstance(error.__cause__, SQLAlchemyError):
        return CATALOGUE_AWAY
    if isinstance(error, CatalogueError):
        return Problem("not_in_catalogue", str(error))
    if isinstance(error, ConfigError):
        return Problem("wrong_value", str(error))
    return Problem("fault", "the service is at fault")


def body_of(code: str, message: str, request_id: str) -> dict[str, Any]:
    """Return the body of an error."""
    return {"error": {"code": code, "message": message, "request_id": request_id}}


def code_of(status: int) -> str:
    """Return the code of an error that the framework raised with a status."""
    usual = {400: "bad_request", 401: "no_access", 403: "not_allowed", 404: "not_found", 405: "wrong_method"}
    return usual.get(status) or next((code for code, (known, _) in CODES.items() if known == status), "bad_request")


PROBLEM_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "error": {
            "type": "object",
            "properties": {
                "code": {"enum": sorted(CODES)},
                "message": {"type": "string"},
                "request_id": {"type": "string"},
            },
            "required": ["code", "message", "request_id"],
            "additionalProperties": False,
        }
    },
    "required": ["error"],
    "additionalProperties": False,
}
