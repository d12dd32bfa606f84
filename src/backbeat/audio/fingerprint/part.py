"""A part of an index: recordings and their landmarks in one file that never changes, mapped into memory.

Landmarks are sorted by key: for each key that occurs, where its frames begin among all. A frame counts from the
beginning of the part, as if all its recordings were played one after the other, so that four bytes say both the
recording and the moment.

Layout: a line of JSON with magic, version, the arrays' types and lengths and their CRC-32; then the arrays, each at a
multiple of 64 bytes.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backbeat.audio.fingerprint.coding import VERSION as FINGERPRINT_VERSION
from backbeat.audio.fingerprint.coding import from_bytes
from backbeat.audio.fingerprint.landmarks import indexed_landmarks
from backbeat.audio.fingerprint.peaks import Peaks
from backbeat.errors import CatalogueError
from backbeat.files import atomic_path

MAGIC = "backbeat fingerprint index"
VERSION = 1
#: Silence between two recordings, so that no question reaches from one into the next.
_GAP_FRAMES = 64
#: Frames that 32 bits count; some 19,000 hours.
MOST_FRAMES = 2**32 - 1
_ALIGNED = 64
_TYPES = {
    "ids": "<u1", "starts": "<i8", "ends": "<i8", "keys": "<u4", "begins": "<i8", "frames": "<u4", "prints": "<u1",
}  # fmt: skip
#: What is checked whenever a part is opened: with these sound, no lookup leaves the file, whatever else is damaged.
_CHECKED = ("ids", "starts", "ends", "keys", "begins")
REBUILD = "make it again with `backbeat maintenance reindex`"


class Part:
    """A file of an index, open for reading.

    Parameters
    ----------
    path
        The file.

    Raises
    ------
    CatalogueError
        If it is missing, damaged or of another version.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            arrays = _mapped(path)
            self.ids: tuple[str, ...] = tuple(json.loads(bytes(arrays["ids"])))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CatalogueError(f"{path}: this part of the fingerprint index cannot be read: {REBUILD}") from error
        #: Frame at which each recording begins, shape (recordings + 1,).
        self.starts = arrays["starts"]
        self.keys = arrays["keys"]
        self.begins = arrays["begins"]
        self.frames = arrays["frames"]
        self._ends = arrays["ends"]
        self._prints = arrays["prints"]
        sound = (
            self.starts.size == len(self.ids) + 1
            and self._ends.size == self.starts.size
            and self.begins.size == self.keys.size + 1
            and int(self.begins[-1]) == self.frames.size
            and int(self._ends[-1]) == self._prints.size
        )
        if not sound:
            raise CatalogueError(f"{path}: this part of the fingerprint index is damaged: {REBUILD}")

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def span_frames(self) -> int:
        """Frames of all recordings with the gaps between them."""
        return int(self.starts[-1])

    def print_of(self, row: int) -> bytes:
        """Return the fingerprint of a recording."""
        return self._prints[self._ends[row] : self._ends[row + 1]].tobytes()

    def peaks_of(self, row: int) -> Peaks:
        """Return the peaks of a recording."""
        return from_bytes(self.print_of(row))


def write_part(path: Path, items: Sequence[tuple[str, bytes]]) -> None:
    """Index recordings, (id, fingerprint) each, in one file; CatalogueError if a fingerprint cannot be read."""
    starts, keys, frames = [0], [], []
    for _, data in items:
        peaks = from_bytes(data)
        key, frame = indexed_landmarks(peaks)
        keys.append(key)
        frames.append(frame.astype(np.int64) + starts[-1])
        starts.append(starts[-1] + int(np.ceil(peaks.duration_frames)) + _GAP_FRAMES)
    if starts[-1] > MOST_FRAMES:
        raise CatalogueError("more hours of music than one part of the fingerprint index can hold")
    key, frame = np.concatenate([np.empty(0, np.uint32), *keys]), np.concatenate([np.empty(0, np.int64), *frames])
    order = np.argsort(key, kind="stable")
    distinct, begins = np.unique(key[order], return_index=True)
    _write(
        path,
        {
            "ids": np.frombuffer(json.dumps([name for name, _ in items]).encode(), np.uint8),
            "starts": np.array(starts),
            "ends": np.cumsum([0, *(len(data) for _, data in items)]),
            "keys": distinct,
            "begins": np.append(begins, key.size),
            "frames": frame[order],
            "prints": np.frombuffer(b"".join(data for _, data in items), np.uint8),
        },
    )


def _write(path: Path, arrays: dict[str, NDArray[Any]]) -> None:
    typed = {name: np.ascontiguousarray(arrays[name], dtype=kind) for name, kind in _TYPES.items()}
    about = {name: {"size": int(array.size), "crc32": zlib.crc32(memoryview(array))} for name, array in typed.items()}
    head = {"magic": MAGIC, "version": VERSION, "fingerprints": FINGERPRINT_VERSION, "arrays": about}
    line = json.dumps(head).encode()
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        stream.write(line + b" " * (-(len(line) + 1) % _ALIGNED) + b"\n")
        for array in typed.values():
            stream.write(array.tobytes())
            stream.write(b"\0" * (-array.nbytes % _ALIGNED))


def _mapped(path: Path) -> dict[str, NDArray[Any]]:
    """Return the arrays of a part, mapped; ValueError or KeyError where it makes no sense."""
    with path.open("rb") as stream:
        line = stream.readline(1 << 16)
    head = json.loads(line)
    if head["magic"] != MAGIC:
        raise ValueError("another kind of file")
    if (head["version"], head["fingerprints"]) != (VERSION, FINGERPRINT_VERSION):
        raise CatalogueError(f"{path}: the fingerprint index is of another version of Backbeat: {REBUILD}")
    whole = np.memmap(path, dtype=np.uint8, mode="r")
    arrays, at = {}, len(line)
    for name, kind in _TYPES.items():
        size = int(head["arrays"][name]["size"]) * np.dtype(kind).itemsize
        if size < 0 or at + size > whole.size:
            raise ValueError("cut short")
        arrays[name] = whole[at : at + size].view(kind)
        if name in _CHECKED and zlib.crc32(memoryview(arrays[name])) != head["arrays"][name]["crc32"]:
            raise ValueError("damaged")
        at += size + (-size % _ALIGNED)
    return arrays
