"""Stems that were made before: in memory, then on disk, then in Redis, so that the same song is separated once.

What is kept is files as they were written, each with the hash of its bytes. A level that fails is passed over: what is
damaged is thrown out and counted, and a Redis that is away is a miss. Nothing is served that is not what was put in.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sqlite3
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

from backbeat.errors import ConfigError, ResourceError

_PIECE_BYTES = 1 << 20
# Larger stems take a large part of what a level has, or what Redis takes at once.
_MEMORY_SHARE = 4
_LARGEST_REDIS_BYTES = 64 << 20
# After a failure Redis is left alone for so long, so that each call does not wait for it again.
_REDIS_REST_S = 10.0
_DIGEST_BYTES = 32
# How long a lock in Redis outlives its machine, and how long another machine is waited for.
_LOCK_S, _LONGEST_WAIT_S = 15.0, 3600.0


@dataclass
class LevelStats:
    """What one level of a cache has done: lookups that found something or nothing, damaged entries, what failed."""

    hits: int = 0
    misses: int = 0
    damaged: int = 0
    failures: int = 0
    bytes: int = 0


def cache_key(source_sha256: str, model: str, options: Mapping[str, Any]) -> str:
    """Return the key of a separation: of the audio's content, the model and all that decides what the files hold."""
    told = json.dumps([source_sha256, model, dict(options)], sort_keys=True)
    return hashlib.sha256(told.encode()).hexdigest()


class StemCache:
    """Files of stems by key and stem; safe for several threads and processes.

    Parameters
    ----------
    folder
        Of the level on disk, shared by all processes that name it.
    memory_bytes, disk_bytes
        The most that these levels hold; what was not used for longest goes first.
    ttl_s
        Entries older than this are not served.
    redis_url
        "redis://host:6379/0" for a third level that several machines share; None for none.

    Raises
    ------
    ConfigError
        If a limit is not positive, or Redis is asked for and its client is not installed.
    """

    def __init__(
        self,
        folder: Path,
        *,
        memory_bytes: int = 256 << 20,
        disk_bytes: int = 10 << 30,
        ttl_s: float = 30 * 86400.0,
        redis_url: str | None = None,
    ) -> None:
        if min(memory_bytes, disk_bytes, ttl_s) <= 0:
            raise ConfigError("the limits of a cache must be positive")
        self.folder = folder
        self.ttl_s = ttl_s
        self._memory = _Memory(memory_bytes, ttl_s)
        self._disk = _Disk(folder / "stems", disk_bytes, ttl_s)
        self._redis = None if redis_url is None else _Redis(redis_url, ttl_s)
        self._busy: dict[str, tuple[threading.Lock, int]] = {}
        self._guard = threading.Lock()

    def fetch(self, key: str, stem: str, target: Path) -> bool:
        """Write the file of a stem to `target`, from the quickest level that has it; False when none has."""
        name = f"{key}/{stem}"
        if (content := self._memory.get(name)) is not None:
            target.write_bytes(content)
            return True
        if self._disk.get(name, target):
            self._memory.put_file(name, target)
            return True
        if self._redis is not None and (content := self._redis.get(name)) is not None:
            target.write_bytes(content)
            self._disk.put(name, target)
            self._memory.put_file(name, target)
            return True
        return False

    def keep(self, key: str, stem: str, source: Path) -> None:
        """Put the file of a stem in all levels."""
        name = f"{key}/{stem}"
        self._memory.put_file(name, source)
        self._disk.put(name, source)
        if self._redis is not None and source.stat().st_size <= _LARGEST_REDIS_BYTES:
            self._redis.put(name, source.read_bytes())

    @contextmanager
    def once(self, key: str) -> Iterator[None]:
        """Let one thread of one process at a time work on a key; the others find in the cache what it made."""
        from filelock import FileLock

        with self._guard:
            lock, waiting = self._busy.get(key, (threading.Lock(), 0))
            self._busy[key] = lock, waiting + 1
        try:
            with lock:
                locks = self._locks()
                # As many files as there are first bytes, not as many as there are songs.
                with FileLock(locks / f"{key[:2]}.lock"), self._alone_among_machines(key):
                    yield
        finally:
            with self._guard:
                lock, waiting = self._busy.pop(key)
                if waiting > 1:
                    self._busy[key] = lock, waiting - 1

    def _locks(self) -> Path:
        locks = self.folder / "locks"
        try:
            locks.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ResourceError(f"{self.folder}: the cache cannot be written: {error.strerror or error}") from None
        return locks

    def _alone_among_machines(self, key: str) -> AbstractContextManager[object]:
        return nullcontext() if self._redis is None else self._redis.alone(key)

    def clear(self) -> None:
        """Throw out all that is in memory and on disk."""
        self._memory.clear()
        self._disk.clear()

    def outdated(self) -> tuple[int, int]:
        """Return how many files on disk are not served any more, and their bytes."""
        return self._disk.outdated()

    def prune(self) -> int:
        """Throw out the files on disk that are not served any more; return how many."""
        return self._disk.prune()

    def close(self) -> None:
        """Let go of files and connections."""
        self._disk.close()
        if self._redis is not None:
            self._redis.close()

    def stats(self) -> dict[str, dict[str, int]]:
        """Return what each level has done in this process, and the bytes that it holds."""
        levels = {"memory": self._memory.stats, "disk": self._disk.measured()}
        if self._redis is not None:
            levels["redis"] = self._redis.stats
        return {name: asdict(level) for name, level in levels.items()}


class _Memory:
    """The files used last, up to a number of bytes."""

    def __init__(self, limit: int, ttl_s: float) -> None:
        self.limit, self.ttl_s = limit, ttl_s
        self.stats = LevelStats()
        self._kept: OrderedDict[str, tuple[float, bytes]] = OrderedDict()
        self._guard = threading.Lock()

    def get(self, name: str) -> bytes | None:
        with self._guard:
            found = self._kept.get(name)
            if found is not None and time.time() - found[0] <= self.ttl_s:
                self._kept.move_to_end(name)
                self.stats.hits += 1
                return found[1]
            self._drop(name)
            self.stats.misses += 1
            return None

    def put_file(self, name: str, path: Path) -> None:
        if path.stat().st_size * _MEMORY_SHARE > self.limit:
            return
        content = path.read_bytes()
        with self._guard:
            self._drop(name)
            self._kept[name] = time.time(), content
            self.stats.bytes += len(content)
            while self.stats.bytes > self.limit:
                self._drop(next(iter(self._kept)))

    def _drop(self, name: str) -> None:
        found = self._kept.pop(name, None)
        self.stats.bytes -= len(found[1]) if found else 0

    def clear(self) -> None:
        with self._guard:
            self._kept.clear()
            self.stats.bytes = 0


class _Disk:
    """Files under an SQLite index (diskcache), each with its hash as its tag."""

    def __init__(self, folder: Path, limit: int, ttl_s: float) -> None:
        self.folder, self.limit, self.ttl_s = folder, limit, ttl_s
        self.stats = LevelStats()
        self._guard = threading.Lock()
        self._index: Any = None

    def get(self, name: str, target: Path) -> bool:
        def look(index: Any) -> bool:
            stream, tag = index.get(name, read=True, tag=True)
            if stream is None:
                return False
            with stream, target.open("wb") as out:
                digest = _copied(stream, out)
            if digest.hex() != tag:
                index.delete(name)
                self.stats.damaged += 1
                return False
            return True

        found = bool(self._tried(look, False))
        self.stats.hits += found
        self.stats.misses += not found
        return found

    def put(self, name: str, source: Path) -> None:
        def store(index: Any) -> None:
            with source.open("rb") as stream:
                digest = hashlib.file_digest(stream, "sha256").hexdigest()
                stream.seek(0)
                index.set(name, stream, read=True, expire=self.ttl_s, tag=digest)

        if source.stat().st_size <= self.limit:
            self._tried(store, None)

    def _tried(self, work: Callable[[Any], Any], otherwise: Any) -> Any:
        """Do something with the index; where that is damaged, begin a new one."""
        try:
            return work(self._opened())
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError) and "locked" in str(error):
                self.stats.failures += 1
                return otherwise
            self.stats.damaged += 1
            self.clear()
            return otherwise
        except OSError:
            # A file that is gone, or no room for one: as if it were not there.
            self.stats.failures += 1
            return otherwise

    def _opened(self) -> Any:
        import diskcache

        with self._guard:
            if self._index is None:
                self._index = diskcache.Cache(
                    str(self.folder), size_limit=self.limit, eviction_policy="least-recently-used", disk_min_file_size=0
                )
            return self._index

    def outdated(self) -> tuple[int, int]:
        def count(index: Any) -> tuple[int, int]:
            # The table that `expire` goes by.
            asked = "SELECT COUNT(*), COALESCE(SUM(size), 0) FROM Cache WHERE expire_time < ?"
            with closing(sqlite3.connect(Path(index.directory) / "cache.db")) as connection:
                files, size = connection.execute(asked, (time.time(),)).fetchone()
            return int(files), int(size)

        found: tuple[int, int] = self._tried(count, (0, 0))
        return found

    def prune(self) -> int:
        return int(self._tried(lambda index: index.expire(), 0))

    def measured(self) -> LevelStats:
        self.stats.bytes = int(self._tried(lambda index: index.volume(), 0))
        return self.stats

    def clear(self) -> None:
        self.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def close(self) -> None:
        with self._guard:
            if self._index is not None:
                self._index.close()
                self._index = None


class _Redis:
    """Files in Redis, their hash before them; what goes wrong there is a miss."""

    def __init__(self, url: str, ttl_s: float) -> None:
        try:
            import redis
        except ImportError:
            raise ConfigError("a cache in Redis needs its client: pip install redis") from None
        self._errors = (redis.RedisError, OSError)
        try:
            self._client = redis.Redis.from_url(url, socket_timeout=5, socket_connect_timeout=2)
        except ValueError as error:
            raise ConfigError(f"{url!r} is no address of a Redis: {error}") from None
        self.ttl_s = ttl_s
        self.stats = LevelStats()
        self._rests_until = 0.0

    def get(self, name: str) -> bytes | None:
        content = self._tried(lambda: self._client.get(f"backbeat:stem:{name}"))
        if content is not None and hashlib.sha256(content[_DIGEST_BYTES:]).digest() != content[:_DIGEST_BYTES]:
            self._tried(lambda: self._client.delete(f"backbeat:stem:{name}"))
            self.stats.damaged += 1
            content = None
        if content is None:
            self.stats.misses += 1
            return None
        self.stats.hits += 1
        return bytes(content[_DIGEST_BYTES:])

    def put(self, name: str, content: bytes) -> None:
        value = hashlib.sha256(content).digest() + content
        self._tried(lambda: self._client.set(f"backbeat:stem:{name}", value, px=max(1, round(1000 * self.ttl_s))))

    def _tried(self, work: Callable[[], Any]) -> Any:
        if time.monotonic() < self._rests_until:
            return None
        try:
            return work()
        except self._errors:
            self.stats.failures += 1
            self._rests_until = time.monotonic() + _REDIS_REST_S
            return None

    @contextmanager
    def alone(self, key: str) -> Iterator[None]:
        """Let one machine at a time work on a key. A Redis that is away lets all: better twice than not at all."""
        lock = self._client.lock(f"backbeat:lock:{key}", timeout=_LOCK_S, sleep=0.2, thread_local=False)
        held = self._tried(lambda: lock.acquire(blocking_timeout=_LONGEST_WAIT_S))
        done = threading.Event()

        def hold() -> None:
            # Renewed while the work goes on, so that the lock of a machine that died is free seconds later.
            while not done.wait(_LOCK_S / 3):
                self._tried(lock.reacquire)

        holding = threading.Thread(target=hold, daemon=True)
        if held:
            holding.start()
        try:
            yield
        finally:
            done.set()
            if held:
                holding.join()
                self._tried(lock.release)

    def close(self) -> None:
        self._client.close()


def _copied(stream: BinaryIO, out: BinaryIO) -> bytes:
    """Copy a stream and return the SHA-256 of its bytes."""
    digest = hashlib.sha256()
    while piece := stream.read(_PIECE_BYTES):
        digest.update(piece)
        out.write(piece)
    return digest.digest()
