"""Reading TensorFlow checkpoints without TensorFlow, and Spleeter's variables as a torch state.

A checkpoint ("tensor bundle") is an index and raw data. The index is a sorted string table in the format of LevelDB
(doc/table_format.md there): blocks of keys that share prefixes, found through an index block that the file's last 48
bytes point to. Its values are small protocol buffers (tensorflow/core/protobuf/tensor_bundle.proto): type, shape,
offset and size of each variable.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from backbeat.errors import ModelError
from backbeat.separation.network import SeparatorParams

_FOOTER_BYTES = 48
_MAGIC = 0xDB4775248B80FB57
_LAYER = re.compile(r"(conv2d|conv2d_transpose|batch_normalization)(_\d+)?")
_LARGEST_INDEX_BYTES = 16 << 20
# TensorFlow's numbers for types (types.proto) that a model has.
_DTYPES: dict[int, np.dtype] = {
    1: np.dtype("<f4"),
    2: np.dtype("<f8"),
    3: np.dtype("<i4"),
    9: np.dtype("<i8"),
    19: np.dtype("<f2"),
}


@dataclass(frozen=True)
class _Entry:
    dtype: np.dtype
    shape: tuple[int, ...]
    offset: int
    size: int


def read_checkpoint(index: Path, data: Path) -> dict[str, NDArray]:
    """Read all variables of a checkpoint of one part.

    Parameters
    ----------
    index, data
        The files called `….index` and `….data-00000-of-00001`.

    Returns
    -------
    Arrays by the name of the variable.

    Raises
    ------
    ModelError
        If the files are not a checkpoint, or are damaged.
    """
    try:
        if index.stat().st_size > _LARGEST_INDEX_BYTES:
            raise ModelError(f"{index}: is too large for the index of a checkpoint")
        entries = dict(_entries(index.read_bytes()))
        size = data.stat().st_size
        values: dict[str, NDArray] = {}
        with data.open("rb") as stream:
            for name, entry in entries.items():
                if entry.offset + entry.size > size:
                    raise ModelError(f"{data}: is cut short: {name} lies beyond its end")
                stream.seek(entry.offset)
                values[name] = np.frombuffer(stream.read(entry.size), entry.dtype).reshape(entry.shape)
    except OSError as error:
        raise ModelError(f"{error.filename or index}: cannot be read: {error.strerror or error}") from None
    except (ValueError, IndexError, struct.error, UnicodeDecodeError):
        raise ModelError(f"{index}: is not the index of a TensorFlow checkpoint, or is damaged") from None
    return values


def _entries(table: bytes) -> Iterator[tuple[str, _Entry]]:
    if len(table) < _FOOTER_BYTES or struct.unpack("<Q", table[-8:])[0] != _MAGIC:
        raise ValueError
    footer = table[-_FOOTER_BYTES:]
    _, at = _handle(footer, 0)
    place, _ = _handle(footer, at)
    for _, value in _block(table, place):
        for key, entry in _block(table, _handle(value, 0)[0]):
            if key:
                yield key.decode(), _entry(entry)
            else:
                fields = dict(_fields(entry))
                if fields.get(1) != 1 or fields.get(2, 0) != 0:
                    raise ModelError("the checkpoint is in several parts or big-endian, which Spleeter's never are")


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError


def _handle(data: bytes, at: int) -> tuple[tuple[int, int], int]:
    offset, at = _varint(data, at)
    size, at = _varint(data, at)
    return (offset, size), at


def _block(table: bytes, place: tuple[int, int]) -> Iterator[tuple[bytes, bytes]]:
    """Give the keys and values of a block; each key is written as what differs from the one before."""
    offset, size = place
    block = table[offset : offset + size]
    if len(block) != size or table[offset + size] != 0:  # the byte behind a block says how it is compressed
        raise ValueError
    restarts = struct.unpack("<I", block[-4:])[0]
    end = size - 4 - 4 * restarts
    at, key = 0, b""
    while at < end:
        shared, at = _varint(block, at)
        fresh, at = _varint(block, at)
        length, at = _varint(block, at)
        key = key[:shared] + block[at : at + fresh]
        at += fresh
        yield key, block[at : at + length]
        at += length


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Give the fields of a protocol buffer: number and value."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        kind = tag & 7
        if kind == 0:
            value, at = _varint(message, at)
            yield tag >> 3, value
        elif kind == 2:
            length, at = _varint(message, at)
            yield tag >> 3, message[at : at + length]
            at += length
        elif kind in (1, 5):
            at += 8 if kind == 1 else 4
        else:
            raise ValueError


def _entry(message: bytes) -> _Entry:
    dtype, shape, offset, size = 0, [], 0, 0
    for number, value in _fields(message):
        if number == 2 and isinstance(value, bytes):
            for inner, dimension in _fields(value):
                if inner == 2 and isinstance(dimension, bytes):
                    shape.append(int(dict(_fields(dimension)).get(1, 0)))
        elif isinstance(value, int):
            if number == 1:
                dtype = value
            elif number == 3 and value:
                raise ValueError
            elif number == 4:
                offset = value
            elif number == 5:
                size = value
    if dtype not in _DTYPES:
        raise ModelError(f"a variable of the checkpoint has a type that is not known here (number {dtype})")
    return _Entry(_DTYPES[dtype], tuple(shape), offset, size)


def spleeter_state(variables: dict[str, NDArray], params: SeparatorParams) -> dict[str, Tensor]:
    """Turn Spleeter's variables to the state of a `SeparatorNetwork`.

    Keras numbers the layers of each kind in the order in which they were made, over all instruments.

    Raises
    ------
    ModelError
        If a variable is missing or of another shape: the checkpoint is of another model.
    """
    names: dict[str, tuple[str, bool]] = {}  # torch's name: TensorFlow's, and whether the layer is transposed
    down, up = len(params.filters), len(params.filters)
    for number, instrument in enumerate(params.instruments):
        first = number * (down + 1)
        layers = {f"down.{level}.conv": ("conv2d", first + level) for level in range(down)}
        layers["mask"] = ("conv2d", first + down)
        layers |= {f"up.{level}.conv": ("conv2d_transpose", number * up + level) for level in range(up)}
        # The sixth convolution's normalisation is made, and goes nowhere.
        norms = number * (down + up)
        layers |= {f"down_norms.{level}": ("batch_normalization", norms + level) for level in range(down - 1)}
        layers |= {f"up_norms.{level}": ("batch_normalization", norms + down + level) for level in range(up)}
        for ours, (kind, index) in layers.items():
            theirs = kind if index == 0 else f"{kind}_{index}"
            pairs = (
                {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}
                if kind == "batch_normalization"
                else {"weight": "kernel", "bias": "bias"}
            )
            for mine, yours in pairs.items():
                names[f"nets.{instrument}.{ours}.{mine}"] = (f"{theirs}/{yours}", kind == "conv2d_transpose")
    unused = {f"batch_normalization_{number * (down + up) + down - 1}" for number in range(len(params.instruments))}
    known = {theirs.partition("/")[0] for theirs, _ in names.values()} | unused
    more = {layer for layer in (name.partition("/")[0] for name in variables) if _LAYER.fullmatch(layer)} - known
    if more:
        raise ModelError(f"the checkpoint has layers beyond those of {len(params.instruments)} stems: another model's")
    state: dict[str, Tensor] = {}
    for ours, (theirs, _) in names.items():
        if theirs not in variables:
            raise ModelError(f"the checkpoint has no variable {theirs}: it is of another model")
        # Kernels: height, width, in, out, and out before in where transposed; torch wants out, in (in, out) in front.
        values = variables[theirs].astype(np.float32)
        state[ours] = torch.from_numpy(values.transpose(3, 2, 0, 1).copy() if values.ndim == 4 else values.copy())
        if ours.endswith(".running_var"):
            # How many batches the statistics are of is not kept there; nothing here asks for it.
            state[ours.replace("running_var", "num_batches_tracked")] = torch.tensor(0)
    return state
