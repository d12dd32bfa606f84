"""Writing parts of an index: of new recordings, and of several parts in one, in little memory."""

from __future__ import annotations

import json
import zlib
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from backbeat.audio.fingerprint.coding import VERSION as FINGERPRINT_VERSION
from backbeat.audio.fingerprint.coding import from_bytes
from backbeat.audio.fingerprint.landmarks import MOST_KEYS, indexed_landmarks
from backbeat.audio.fingerprint.part import ALIGNED, HEAD_BYTES, MAGIC, TYPES, VERSION, Part
from backbeat.errors import CatalogueError
from backbeat.files import atomic_path

#: Silence between two recordings, so that no question reaches from one into the next.
_GAP_FRAMES = 64
#: Frames that 32 bits count: some 19,000 hours.
MOST_FRAMES = 2**32 - 1
#: Landmarks worked on at a time when parts are joined.
_LANDMARKS_AT_ONCE = 1 << 24


def write_part(path: Path, items: Sequence[tuple[str, bytes]]) -> None:
    """Index recordings, (id, fingerprint) each, in one file; CatalogueError if a fingerprint cannot be read."""
    starts, keys, frames = [0], [np.empty(0, np.uint32)], [np.empty(0, np.int64)]
    for _, data in items:
        peaks = from_bytes(data)
        key, frame = indexed_landmarks(peaks)
        keys.append(key)
        frames.append(frame.astype(np.int64) + starts[-1])
        starts.append(starts[-1] + int(np.ceil(peaks.duration_frames)) + _GAP_FRAMES)
    if starts[-1] > MOST_FRAMES:
        raise CatalogueError("more hours of music than one part of the fingerprint index can hold")
    with _writing(path) as writer:
        for _, data in items:
            writer.append("prints", np.frombuffer(data, np.uint8))
        counts = _append_sorted(writer, np.concatenate(keys), np.concatenate(frames))
        lengths = [len(data) for _, data in items]
        _append_small(writer, [name for name, _ in items], np.diff(starts), np.array(lengths, np.int64), [counts])


def join_parts(path: Path, sources: Sequence[tuple[Part, Collection[int]]]) -> None:
    """Write the recordings of several parts as one.

    Parameters
    ----------
    path
        Of the new part.
    sources
        Parts, and of each the rows to leave out.
    """
    kept = [_kept(part, without) for part, without in sources]
    lengths = [np.diff(part.starts)[keep] for (part, _), keep in zip(sources, kept, strict=True)]
    if sum(int(length.sum()) for length in lengths) > MOST_FRAMES:
        raise CatalogueError("more hours of music than one part of the fingerprint index can hold")
    with _writing(path) as writer:
        ids, sizes = [], []
        for (part, _), keep in zip(sources, kept, strict=True):
            for row in np.flatnonzero(keep).tolist():
                data = part.print_of(row)
                ids.append(part.ids[row])
                sizes.append(len(data))
                writer.append("prints", np.frombuffer(data, np.uint8))
        shifts = _shifts([part for part, _ in sources], kept, lengths)
        counts = []
        for low, high in _key_ranges([part for part, _ in sources]):
            pieces = [
                _moved(part, keep, shift, low, high)
                for (part, _), keep, shift in zip(sources, kept, shifts, strict=True)
            ]
            key, frame = (np.concatenate(column) for column in zip(*pieces, strict=True))
            counts.append(_append_sorted(writer, key, frame))
        _append_small(writer, ids, np.concatenate(lengths), np.array(sizes, np.int64), counts)


def _kept(part: Part, without: Collection[int]) -> NDArray[np.bool_]:
    keep = np.ones(len(part), np.bool_)
    keep[list(without)] = False
    return keep


def _shifts(
    parts: Sequence[Part], kept: Sequence[NDArray[np.bool_]], lengths: Sequence[NDArray[np.int64]]
) -> list[NDArray[np.int64]]:
    """Return by how many frames each recording moves when it goes to the new part."""
    shifts, begin = [], 0
    for part, keep, length in zip(parts, kept, lengths, strict=True):
        shift = np.zeros(len(part), np.int64)
        shift[keep] = begin + np.cumsum(length) - length - part.starts[:-1][keep]
        shifts.append(shift)
        begin += int(length.sum())
    return shifts


def _key_ranges(parts: Sequence[Part]) -> list[tuple[int, int]]:
    """Return ranges of keys, the end not in them, that hold a bearable number of landmarks each."""
    total = sum(part.frames.size for part in parts)
    edges = np.linspace(0, MOST_KEYS, 64 * (1 + total // _LANDMARKS_AT_ONCE) + 1).astype(np.int64)
    sizes = np.sum([part.begins[np.searchsorted(part.keys, edges)] for part in parts], axis=0)
    ranges, first = [], 0
    for last in range(1, edges.size):
        if last + 1 == edges.size or sizes[last + 1] - sizes[first] > _LANDMARKS_AT_ONCE:
            ranges.append((int(edges[first]), int(edges[last])))
            first = last
    return ranges


def _moved(
    part: Part, keep: NDArray[np.bool_], shift: NDArray[np.int64], low: int, high: int
) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
    """Return keys and frames in the new part of the landmarks whose keys are in a range."""
    first, last = np.searchsorted(part.keys, [low, high]).tolist()
    begins = part.begins[first : last + 1]
    keys = np.repeat(part.keys[first:last], np.diff(begins))
    frames = part.frames[int(begins[0]) : int(begins[-1])].astype(np.int64)
    rows = part.rows_at(frames)
    stays = keep[rows]
    return keys[stays], (frames + shift[rows])[stays]


def _append_sorted(writer: _Writer, keys: NDArray[np.uint32], frames: NDArray[np.int64]) -> NDArray[np.int64]:
    """Append landmarks in the order of keys; return how many there are of each key that occurs."""
    order = np.argsort(keys, kind="stable")
    distinct, counts = np.unique(keys, return_counts=True)
    writer.append("keys", distinct)
    writer.append("frames", frames[order])
    return counts.astype(np.int64)


def _append_small(
    writer: _Writer,
    ids: Sequence[str],
    lengths: NDArray[np.int64],
    sizes: NDArray[np.int64],
    counts: Sequence[NDArray[np.int64]],
) -> None:
    writer.append("ids", np.frombuffer(json.dumps(list(ids)).encode(), np.uint8))
    writer.append("starts", np.cumsum(np.append(0, lengths)))
    writer.append("bytes", np.cumsum(np.append(0, sizes)))
    writer.append("begins", np.cumsum(np.concatenate([[0], *counts])))


class _Writer:
    """The arrays of a part, each in a file of its own until all are known."""

    def __init__(self, folder: Path) -> None:
        self._streams: dict[str, BinaryIO] = {name: (folder / name).open("w+b") for name in TYPES}
        self._sums = dict.fromkeys(TYPES, 0)

    def append(self, name: str, values: NDArray[Any]) -> None:
        """Append to one array."""
        data = np.ascontiguousarray(values, dtype=TYPES[name]).data
        self._streams[name].write(data)
        self._sums[name] = zlib.crc32(data, self._sums[name])

    def close(self) -> None:
        """Close all files."""
        for stream in self._streams.values():
            stream.close()

    def join(self, out: BinaryIO) -> None:
        """Write the head and all arrays."""
        at, about = HEAD_BYTES, {}
        for name, stream in self._streams.items():
            size = stream.tell()
            about[name] = {"at": at, "size": size // np.dtype(TYPES[name]).itemsize, "crc32": self._sums[name]}
            at += size + (-size % ALIGNED)
        head = {"magic": MAGIC, "version": VERSION, "fingerprints": FINGERPRINT_VERSION, "arrays": about}
        out.write(json.dumps(head).encode().ljust(HEAD_BYTES))
        for stream in self._streams.values():
            size = stream.tell()
            stream.seek(0)
            while piece := stream.read(1 << 20):
                out.write(piece)
            out.write(b"\0" * (-size % ALIGNED))


@contextmanager
def _writing(path: Path) -> Iterator[_Writer]:
    """Give what takes the arrays of a part; the part is there once the block ends well."""
    with atomic_path(path) as temporary:
        writer = _Writer(temporary.parent)
        try:
            yield writer
            with temporary.open("wb") as out:
                writer.join(out)
        finally:
            writer.close()
