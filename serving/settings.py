"""How the service behaves: `conf/serving/default.yaml`, a file of one's own before it, variables before both."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from limits import parse

from backbeat.analysis.result import TASKS
from backbeat.audio.limits import AudioLimits
from backbeat.errors import ConfigError
from backbeat.settings import above_zero, layered, read_settings

_IN_BENTO = (Path(__file__).resolve().parents[2] / "bento.yaml").is_file()
DEFAULT = Path(__file__).resolve().parent.parent / "conf" / "serving" / "default.yaml"
#: What beats and tracks are chosen by, where there are models for it.
CHOOSING: tuple[str, ...] = ("pairing", "listening")
#: Names a file of settings, and begins the names of variables that are one.
VARIABLE = "BACKBEAT_SERVING"
_LONGEST_SOCKET_FOLDER = 60


@dataclass(frozen=True)
class Models:
    """Where models come from, windows in a batch, threads of a network; ConfigError when a number leaves nothing."""

    folders: dict[str, str]
    registry: str
    registry_s: float
    batch_windows: int
    threads: int

    def __post_init__(self) -> None:
        above_zero("models", self, "registry_s", "batch_windows", "threads")
        for task, folder in self.folders.items():
            if task not in (*TASKS, *CHOOSING):
                raise ConfigError(f"models.folders: {task!r} is no task; there are {', '.join((*TASKS, *CHOOSING))}")
            # By its name: to import what knows it would bring torch into every process.
            if not (Path(folder) / "spec.json").is_file():
                raise ConfigError(f"models.folders: {folder}: no model for {task} here")


@dataclass(frozen=True)
class Limits:
    """The most that a request may ask for; ConfigError when a limit leaves nothing."""

    max_bytes: int
    max_seconds: float
    upload_s: float
    hearing_s: float
    request_s: float
    hearing_bytes: int
    hearing_processes: int
    at_once: int
    waiting: int
    files: int

    def __post_init__(self) -> None:
        above_zero("limits", self)

    @property
    def audio(self) -> AudioLimits:
        """What decoding may be asked for."""
        return AudioLimits(self.max_bytes, self.max_seconds, self.hearing_bytes)


@dataclass(frozen=True)
class Access:
    """Who may call; ConfigError when a secret is too short to be one."""

    keys: str
    jwt_secret: str
    jwt_jwks_url: str
    jwt_audience: str
    jwt_issuer: str
    cors_origins: list[str]

    def __post_init__(self) -> None:
        if self.jwt_secret and len(self.jwt_secret.encode()) < 32:
            raise ConfigError("access.jwt_secret must have 32 bytes or more (RFC 7518, section 3.2)")
        if self.jwt_secret and self.jwt_jwks_url:
            raise ConfigError("tokens have a secret or public keys, not both: set one of jwt_secret and jwt_jwks_url")
        if self.jwt_jwks_url and not self.jwt_jwks_url.startswith(("https://", "http://127.0.0.1", "http://localhost")):
            raise ConfigError("access.jwt_jwks_url must be https")


@dataclass(frozen=True)
class Rates:
    """How often may be called; ConfigError when a rate is none."""

    per_key: str
    per_address: str
    redis: str

    def __post_init__(self) -> None:
        for name in ("per_key", "per_address"):
            try:
                if value := getattr(self, name):
                    parse(value)
            except ValueError:
                raise ConfigError(f"rates.{name}: {getattr(self, name)!r} is no rate; write 600/minute") from None


@dataclass(frozen=True)
class Scan:
    """Where clamd listens, and how long it may take."""

    clamd: str
    timeout_s: float


@dataclass(frozen=True)
class Logs:
    """What is told, and where the audit log lies in `state`."""

    level: Literal["debug", "info", "warning", "error"]
    audit: str


@dataclass(frozen=True)
class Telemetry:
    """Where traces go."""

    otlp: str


@dataclass(frozen=True)
class Monitoring:
    """What is kept of what was served, and where; ConfigError when a number leaves nothing."""

    records: bool
    database: str
    rows: int
    seconds: float
    keep_audio_s: float

    def __post_init__(self) -> None:
        above_zero("monitoring", self, "rows", "seconds")
        if not self.keep_audio_s >= 0:
            raise ConfigError("monitoring.keep_audio_s must be 0 or more")


@dataclass(frozen=True)
class Jobs:
    """Where jobs are kept, how long, and how many may wait; ConfigError when a number leaves nothing."""

    database: str
    folder: str
    keep_s: float
    stale_s: float
    waiting: int
    timeout_s: float
    cache_bytes: int
    cache_redis: str

    def __post_init__(self) -> None:
        above_zero("jobs", self, "keep_s", "stale_s", "waiting", "timeout_s", "cache_bytes")


@dataclass(frozen=True)
class Recommend:
    """Where the catalogue is, and the most that is chosen at once; ConfigError when a number leaves nothing."""

    catalogue: str
    fresh_s: float
    at_once: int
    waiting: int
    answers: int
    interactions: int
    keep_audio: bool

    def __post_init__(self) -> None:
        above_zero("recommend", self, "fresh_s", "at_once", "waiting", "answers", "interactions")


@dataclass(frozen=True)
class Settings:
    """All of it; see conf/serving/default.yaml."""

    mode: Literal["local", "production"]
    state: str
    models: Models
    limits: Limits
    jobs: Jobs
    recommend: Recommend
    access: Access
    rates: Rates
    scan: Scan
    logs: Logs
    telemetry: Telemetry
    monitoring: Monitoring

    def place(self, name: str) -> Path:
        """Return where a file of the state lies."""
        return self._state / name

    @property
    def _state(self) -> Path:
        # BentoML serves a Bento from within it, where the next would not find the state: it lies where one started.
        started = Path(os.environ.get("PWD", ".")) if _IN_BENTO else Path()
        return started / self.state

    def check_state(self) -> None:
        """Make the folder of the state; ConfigError where that cannot be or nothing can be written to it."""
        try:
            self._state.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self._state):
                pass
        except OSError as error:
            raise ConfigError(f"state: {self._state}: cannot be written to: {error.strerror}") from None


def load_settings(environment: Mapping[str, str] = os.environ) -> Settings:
    """Read the settings.

    Raises
    ------
    ConfigError
        If a file cannot be read, or a setting is unknown or makes no sense.
    """
    return read_settings(Settings, layered(DEFAULT, VARIABLE, environment))


def sockets_fit() -> bool:
    """Tell whether Unix sockets can lie where temporary files do: their paths have 103 bytes at most."""
    return len(os.fsencode(tempfile.gettempdir())) <= _LONGEST_SOCKET_FOLDER
