"""Everything that Backbeat raises on purpose.

::

    BackbeatError                 (exit code 1)
    ├── AudioError                one file that cannot be heard: names the file and the cause
    │   ├── AudioNotFoundError    no such file, or not a file
    │   ├── UnsupportedAudioError not audio, DRM-protected, or in a codec that nothing here decodes
    │   ├── DamagedAudioError     empty, truncated, or holding NaN or infinity
    │   ├── SilentAudioError      nothing to hear in it
    │   ├── DrumlessAudioError    no drums in it, where drums are what is wanted
    │   └── AudioLimitError       more bytes or seconds than the limits in force
    ├── AnnotationError           beats, onsets or labels that cannot be true: names file and line
    ├── CorpusError               a corpus that breaks the contract, or cannot be read or made
    │   └── CorpusUnavailableError  it has to be fetched and cannot be: says what to do
    ├── ModelError                a model that is missing, damaged or made for something else
    ├── RegistryError             a registry of models that cannot be used, or has changed meanwhile
    ├── MonitoringError           a database of monitoring that cannot be used, or rows too few to judge
    ├── CatalogueError            a catalogue that cannot be used, or lacks what is asked for
    │   └── UnknownItemError      no such track, beat or user
    ├── RetrainingError           a retraining that cannot go on: names the step's log
    │   └── RetrainingBusyError   another one is at work (exit code 6)
    ├── ResourceError             memory, disk or permission that a piece of work needs and lacks
    ├── TimeLimitError            work that took longer than it was given
    ├── ServiceError              a service that refuses a request, or cannot be reached
    └── ConfigError               settings or arguments that make no sense together

A message is one line that a user can act on; `__str__` is that line, without a class name.
"""

from __future__ import annotations

from pathlib import Path


class BackbeatError(Exception):
    """Base of all errors that are the user's to read."""

    exit_code = 1


class AudioError(BackbeatError):
    """A file that cannot be heard.

    Parameters
    ----------
    path
        The file, as the user named it.
    cause
        What is wrong, in words that follow the name: "is empty".
    """

    def __init__(self, path: Path | str, cause: str) -> None:
        super().__init__(f"{path}: {cause}")
        self.path = str(path)
        self.cause = cause

    def __reduce__(self) -> tuple[type[AudioError], tuple[str, str]]:
        # Without this an error raised in a worker process could not be rebuilt here, and would hide behind another.
        return type(self), (self.path, self.cause)


class AudioNotFoundError(AudioError):
    """There is no such file, or it is not a regular file."""


class UnsupportedAudioError(AudioError):
    """The file is not audio, is encrypted, or needs a decoder that is not here."""


class DamagedAudioError(AudioError):
    """The file is audio, but empty, cut short or corrupt."""


class SilentAudioError(AudioError):
    """The file decodes, but there is nothing to hear in it."""


class DrumlessAudioError(AudioError):
    """The file can be heard, but no drums in it."""


class AudioLimitError(AudioError):
    """The file is larger or longer than the limits in force."""


class AnnotationError(BackbeatError):
    """An annotation that cannot be true.

    Parameters
    ----------
    problem
        What is wrong.
    path, line
        Where, when it came from a file; `line` counts from 1.
    """

    def __init__(self, problem: str, path: Path | str | None = None, line: int | None = None) -> None:
        where = "" if path is None else f"{path}:{line}: " if line is not None else f"{path}: "
        super().__init__(f"{where}{problem}")
        self.problem = problem
        self.path = None if path is None else str(path)
        self.line = line

    def __reduce__(self) -> tuple[type[AnnotationError], tuple[str, str | None, int | None]]:
        return type(self), (self.problem, self.path, self.line)


class CorpusError(BackbeatError):
    """A corpus that breaks the contract, or cannot be read or made."""


class CorpusUnavailableError(CorpusError):
    """A corpus that has to be fetched and cannot be."""


class ModelError(BackbeatError):
    """A model that is missing, damaged or made for something else."""


class RegistryError(BackbeatError):
    """A registry of models that cannot be used, or that another has changed meanwhile."""


class MonitoringError(BackbeatError):
    """A database of monitoring that cannot be used, or rows that are too few to judge by."""


class CatalogueError(BackbeatError):
    """A catalogue that cannot be used, or lacks what is asked for: nothing in it that fits, say."""


class UnknownItemError(CatalogueError):
    """There is no such track, beat or user."""


class RetrainingError(BackbeatError):
    """A retraining that cannot go on."""


class RetrainingBusyError(RetrainingError):
    """Another retraining is at work in the same checkout."""

    exit_code = 6


class ResourceError(BackbeatError):
    """Memory, disk or a permission that a piece of work needs, and the machine lacks."""


class TimeLimitError(BackbeatError):
    """A piece of work that took longer than it was given."""


class ConfigError(BackbeatError):
    """Settings or arguments that make no sense together."""


class ServiceError(BackbeatError):
    """A service that refuses a request, or cannot be reached.

    Parameters
    ----------
    code
        As the service has it; "away" where it cannot be reached.
    message
        What is wrong.
    request_id
        By which the service's logs know the request; may be empty.
    """

    def __init__(self, code: str, message: str, request_id: str) -> None:
        super().__init__(message)
        self.code = code
        self.request_id = request_id

    def __reduce__(self) -> tuple[type[ServiceError], tuple[str, str, str]]:
        return type(self), (self.code, str(self), self.request_id)
