"""Keys of the service: named, several, revocable; kept as hashes in one file.

::

    python -m serving.keys create studio --scope analyze --scope separate
    python -m serving.keys list
    python -m serving.keys revoke studio

A key is shown once, when it is made. It has 256 random bits, so that one SHA-256 is as good a hash as a slow one.
"""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import json
import re
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from backbeat.errors import BackbeatError, ConfigError
from backbeat.files import write_json
from serving.settings import load_settings

#: What a key or token may be for.
SCOPES = ("analyze", "separate", "chart", "recommend", "interactions", "catalogue", "read", "admin")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_KEY = re.compile(r"bb_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")


@dataclass(frozen=True)
class Key:
    """A key without its secret."""

    id: str
    name: str
    sha256: str
    scopes: tuple[str, ...]
    created: str
    revoked: str | None = None


class KeyStore:
    """The keys of one file; read again when it changes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._keys: dict[str, Key] = {}
        self._seen: tuple[int, int] | None = None

    def all(self) -> list[Key]:
        """Return every key, the oldest first; ConfigError when the file is damaged."""
        try:
            stat = self.path.stat()
        except FileNotFoundError:
            self._keys, self._seen = {}, None
            return []
        if (stat.st_mtime_ns, stat.st_ino) != self._seen:
            try:
                lines = json.loads(self.path.read_text(encoding="utf-8"))["keys"]
                self._keys = {line["id"]: Key(**{**line, "scopes": tuple(line["scopes"])}) for line in lines}
            except (OSError, ValueError, KeyError, TypeError) as error:
                raise ConfigError(f"{self.path}: the keys cannot be read: {error}") from None
            self._seen = stat.st_mtime_ns, stat.st_ino
        return list(self._keys.values())

    def find(self, text: str) -> Key | None:
        """Return the key of that text, if it is one and was not revoked; in the same time whether or not."""
        match = _KEY.fullmatch(text)
        self.all()
        key = self._keys.get(match[1]) if match else None
        expected = key.sha256 if key else "0" * 64
        alike = hmac.compare_digest(hashlib.sha256(text.encode("utf-8", "replace")).hexdigest(), expected)
        return key if alike and key is not None and key.revoked is None else None

    def create(self, name: str, scopes: tuple[str, ...]) -> str:
        """Make a key and return its text, which is kept nowhere.

        Raises
        ------
        ConfigError
            If the name is none or is taken, or a scope is unknown.
        """
        if not _NAME.fullmatch(name) or name == "local":
            raise ConfigError(
                f"{name!r} is no name for a key: letters, digits, '.', '_' and '-', 64 at most, not local"
            )
        for scope in scopes:
            if scope not in SCOPES:
                raise ConfigError(f"there is no scope {scope!r}; there are {', '.join(SCOPES)}")
        with self._changing():
            if any(key.name == name and key.revoked is None for key in self.all()):
                raise ConfigError(f"there is a key {name!r} already: revoke it, or choose another name")
            identity = secrets.token_hex(6)
            text = f"bb_{identity}_{secrets.token_urlsafe(32)}"
            key = Key(identity, name, hashlib.sha256(text.encode()).hexdigest(), scopes, _now())
            self._write([*self.all(), key])
        return text

    def revoke(self, name: str) -> None:
        """Let a key be none any more, at once and in every process; ConfigError when there is none of that name."""
        with self._changing():
            keys = self.all()
            if not any(key.name == name and key.revoked is None for key in keys):
                raise ConfigError(f"there is no key {name!r} that was not revoked")
            revoked = [
                Key(**{**vars(key), "revoked": _now()}) if key.name == name and key.revoked is None else key
                for key in keys
            ]
            self._write(revoked)

    @contextmanager
    def _changing(self) -> Iterator[None]:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.with_name(f".{self.path.name}.lock").open("w") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            yield

    def _write(self, keys: list[Key]) -> None:
        write_json(self.path, {"keys": [asdict(key) for key in keys]})
        self.path.chmod(0o600)
        self._seen = None


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


app = typer.Typer(no_args_is_help=True, add_completion=False, help="Keys of the service.")


def _store() -> KeyStore:
    settings = load_settings()
    return KeyStore(settings.place(settings.access.keys))


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="Who or what it is for.")],
    scope: Annotated[list[str] | None, typer.Option(help=f"One of {', '.join(SCOPES)}; several may be given.")] = None,
) -> None:
    """Make a key and print it, once."""
    typer.echo(_store().create(name, tuple(scope or ("analyze", "separate", "chart", "recommend", "read"))))


@app.command(name="list")
def list_keys() -> None:
    """List the keys, without their secrets."""
    for key in _store().all():
        state = f"revoked {key.revoked}" if key.revoked else "in use"
        typer.echo(f"{key.name}  {','.join(key.scopes)}  made {key.created}  {state}")


@app.command()
def revoke(name: Annotated[str, typer.Argument(help="The key's name.")]) -> None:
    """Let a key be none any more."""
    _store().revoke(name)
    typer.echo(f"{name}: is revoked")


if __name__ == "__main__":
    try:
        app(prog_name="python -m serving.keys")
    except BackbeatError as error:
        sys.stderr.write(f"backbeat: error: {error}\n")
        sys.exit(error.exit_code)
