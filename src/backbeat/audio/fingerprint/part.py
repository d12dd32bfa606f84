"""A part of an index: recordings and their landmarks in one file that never changes, mapped into memory.

Landmarks are sorted by key: for each key that occurs, where its frames begin among all. A frame counts from the
beginning of the part, as if all its recordings were played one after the other, so that four bytes say both the
recording and the moment.

Layout, little-endian: `HEAD_BYTES` of JSON, filled up with spaces (magic, versions, and for each array where it lies,
its length and its CRC-32); then the arrays, each at a multiple of 64 bytes.
"""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backbeat.audio.fingerprint.coding import VERSION as FINGERPRINT_VERSION
from backbeat.audio.fingerprint.coding import from_bytes
from backbeat.audio.fingerprint.peaks import Peaks
from backbeat.errors import CatalogueError

MAGIC = "backbeat fingerprint index"
VERSION = 1
HEAD_BYTES = 4096
ALIGNED = 64
#: What a part holds: names of its recordings (JSON), the frame at which each begins and the last ends, the byte at
#: which its fingerprint begins, keys of landmarks, where the frames of each key begin, the frames, the fingerprints.
TYPES = {
    "ids": "<u1", "starts": "<i8", "bytes": "<i8", "keys": "<u4", "begins": "<i8", "frames": "<u4", "prints": "<u1",
}  # fmt: skip
#: What is read whole and checked whenever a part is opened: with these sound, no lookup leaves the file.
_CHECKED = ("ids", "starts", "bytes", "keys", "begins")
REBUILD = "make it again with `backbeat maintenance reindex`"


class Part:
    """A file of an index, open for reading.

    Parameters
    ----------
    path
        The file.

    Raises
    ------
    FileNotFoundError
        If there is none: another process has put another in its place.
    CatalogueError
        If it is damaged or of another version.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            arrays, self._sums = _mapped(path)
            self.ids: tuple[str, ...] = tuple(str(name) for name in json.loads(arrays["ids"].tobytes()))
        except FileNotFoundError:
            raise
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CatalogueError(f"{path}: this part of the fingerprint index is damaged: {REBUILD}") from error
        #: Frame at which each recording begins, shape (recordings + 1,).
        self.starts = arrays["starts"]
        self.keys = arrays["keys"]
        self.begins = arrays["begins"]
        self.frames = arrays["frames"]
        self._bytes = arrays["bytes"]
        self._prints = arrays["prints"]
        sound = (
            self.starts.size == self._bytes.size == len(self.ids) + 1
            and self.begins.size == self.keys.size + 1
            and int(self.begins[-1]) == self.frames.size
            and int(self._bytes[-1]) == self._prints.size
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
        return self._prints[self._bytes[row] : self._bytes[row + 1]].tobytes()

    def peaks_of(self, row: int) -> Peaks:
        """Return the peaks of a recording."""
        return from_bytes(self.print_of(row))

    def rows_at(self, frames: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the rows of the recordings that are playing at frames of the part; -1 before the first."""
        return np.searchsorted(self.starts, frames, side="right") - 1

    def verify(self) -> None:
        """Read the whole file; CatalogueError if a byte of its arrays is not as it was written."""
        for name, array in (("frames", self.frames), ("prints", self._prints)):
            if zlib.crc32(array.data) != self._sums[name]:
                raise CatalogueError(f"{self.path}: this part of the fingerprint index is damaged: {REBUILD}")


def _mapped(path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, int]]:
    """Return the arrays of a part, mapped, and their sums; ValueError or KeyError where it makes no sense."""
    with path.open("rb") as stream:
        head = json.loads(stream.read(HEAD_BYTES))
    if head["magic"] != MAGIC:
        raise ValueError("another kind of file")
    if (head["version"], head["fingerprints"]) != (VERSION, FINGERPRINT_VERSION):
        raise CatalogueError(f"{path}: the fingerprint index is of another version of Backbeat: {REBUILD}")
    whole = np.asarray(np.memmap(path, dtype=np.uint8, mode="r"))
    arrays, sums = {}, {}
    for name, kind in TYPES.items():
        about = head["arrays"][name]
        begin, size, sums[name] = int(about["at"]), int(about["size"]) * np.dtype(kind).itemsize, int(about["crc32"])
        if not HEAD_BYTES <= begin <= begin + size <= whole.size or begin % ALIGNED:
            raise ValueError("cut short")
        arrays[name] = whole[begin : begin + size].view(kind)
        if name in _CHECKED and zlib.crc32(arrays[name].data) != sums[name]:
            raise ValueError("damaged")
    return arrays, sums
