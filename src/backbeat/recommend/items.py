"""What a catalogue holds: tracks and beats, one by one and as columns to choose from."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from backbeat.analysis.descriptors import Descriptors
from backbeat.errors import CatalogueError
from backbeat.music import Key
from backbeat.music.theory import MODES, TONICS

Kind = Literal["track", "beat"]
KINDS: tuple[Kind, ...] = ("track", "beat")
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
#: Numbers of keys: C major to B major, then C minor to B minor; -1 where no key is known.
NO_KEY = -1


def check_id(text: str, what: str = "id") -> str:
    """Return an identifier; CatalogueError unless it is letters, digits, '.', '_' and '-', 128 at most."""
    if not _ID.fullmatch(text):
        raise CatalogueError(f"{what} {text[:140]!r} must be letters, digits, '.', '_' and '-', 128 at most")
    return text


@dataclass(frozen=True)
class Item:
    """A track or a beat of a catalogue.

    Parameters
    ----------
    id
        Unique in the catalogue (`check_id`).
    kind
        "track": music to listen to; "beat": something to put under a take.
    title, artist
        May be empty.
    label
        Style or genre, "boom_bap" say: as it was given, or as the genre model has it; may be empty.
    path
        Where the audio lies; empty where it was not kept, so that it cannot be heard or measured again.
    sha256
        Of the audio file, in hexadecimal.
    duration_s
        Seconds.
    source, licence
        What it was made from or who made it, and an SPDX identifier or a short text; may be empty.
    added_at
        Seconds since 1970.
    descriptors
        What was measured of it.
    """

    id: str
    kind: Kind
    title: str
    artist: str
    label: str
    path: str
    sha256: str
    duration_s: float
    source: str
    licence: str
    added_at: float
    descriptors: Descriptors

    def __post_init__(self) -> None:
        check_id(self.id)
        if self.kind not in KINDS:
            raise CatalogueError(f"kind {self.kind!r} must be one of {', '.join(KINDS)}")

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values for JSON."""
        return {**asdict(self), "descriptors": self.descriptors.to_dict()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Item:
        """Read what `to_dict` gave."""
        return cls(**{**values, "descriptors": Descriptors.from_dict(values["descriptors"])})


@dataclass(frozen=True, eq=False)
class ItemTable:
    """The items of one kind as columns, in the order of their ids: what choosing among many goes by.

    Every array has one entry an item; NaN stands for a number that is not known.

    Parameters
    ----------
    ids, labels, artists
        Texts.
    tempo_bpm, energy, loudness_lufs, pulse_clarity, duration_s
        As `Descriptors` and `Item` have them.
    key
        0 to 23 as `key_number` counts, `NO_KEY` where none is known.
    key_confidence
        0 to 1.
    beats_per_bar
        0 where it is not known.
    added_at
        Seconds since 1970.
    """

    ids: tuple[str, ...]
    labels: NDArray[np.str_]
    artists: NDArray[np.str_]
    tempo_bpm: NDArray[np.float64]
    energy: NDArray[np.float64]
    loudness_lufs: NDArray[np.float64]
    pulse_clarity: NDArray[np.float64]
    duration_s: NDArray[np.float64]
    key: NDArray[np.int64]
    key_confidence: NDArray[np.float64]
    beats_per_bar: NDArray[np.int64]
    added_at: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.ids)


def key_number(key: Key | None) -> int:
    """Return 0 to 11 for C to B major, 12 to 23 for C to B minor, `NO_KEY` for none."""
    return NO_KEY if key is None else TONICS.index(key.tonic) + 12 * MODES.index(key.mode)


def key_of(number: int) -> Key | None:
    """Undo `key_number`."""
    return None if number == NO_KEY else Key(TONICS[number % 12], MODES[number // 12])


def row_of(item: Item) -> dict[str, Any]:
    """Return the values of an item that `ItemTable` has columns for; None for a number that is not known."""
    told = item.descriptors
    signature = told.time_signature
    return {
        "tempo_bpm": told.tempo_bpm,
        "energy": told.energy,
        "loudness_lufs": told.loudness_lufs,
        "pulse_clarity": told.pulse_clarity,
        "duration_s": item.duration_s,
        "key": key_number(None if told.key is None else Key(told.key.tonic, told.key.mode)),
        "key_confidence": 0.0 if told.key is None else told.key.confidence,
        "beats_per_bar": 0 if signature is None else int(signature.partition("/")[0]),
        "added_at": item.added_at,
    }


def table_of(rows: Sequence[Mapping[str, Any]]) -> ItemTable:
    """Make a table, in the order of ids, of rows with ``id``, ``label``, ``artist`` and what `row_of` gives."""
    ordered = sorted(rows, key=lambda row: str(row["id"]))

    def numbers(name: str) -> NDArray[np.float64]:
        return np.array([np.nan if row[name] is None else row[name] for row in ordered], dtype=np.float64)

    def counts(name: str) -> NDArray[np.int64]:
        return np.array([row[name] for row in ordered], dtype=np.int64)

    return ItemTable(
        ids=tuple(str(row["id"]) for row in ordered),
        labels=np.array([row["label"] for row in ordered], dtype=np.str_),
        artists=np.array([row["artist"] for row in ordered], dtype=np.str_),
        tempo_bpm=numbers("tempo_bpm"),
        energy=numbers("energy"),
        loudness_lufs=numbers("loudness_lufs"),
        pulse_clarity=numbers("pulse_clarity"),
        duration_s=numbers("duration_s"),
        key=counts("key"),
        key_confidence=numbers("key_confidence"),
        beats_per_bar=counts("beats_per_bar"),
        added_at=numbers("added_at"),
    )
