"""Takes, beats and a catalogue of them in memory, for tests of choosing beats."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backbeat.analysis.descriptors import Descriptors, Mood, Quality, Spectrum
from backbeat.analysis.result import Analysis, GenreGuess, KeyGuess
from backbeat.errors import UnknownItemError
from backbeat.music.theory import Key
from backbeat.recommend.beats.scoring import PARTS, Weights
from backbeat.recommend.items import Item, ItemTable, row_of, table_of

PAIR = (1.0, 1.0)
SPECTRUM = Spectrum(PAIR, PAIR, PAIR, PAIR, PAIR, (1.0,), (1.0,), (1.0,))
SPACE = "pairing:0123456789ab"


def descriptors(
    tempo_bpm: float | None = 92.0,
    key: str | None = "C major",
    confidence: float = 0.8,
    signature: str | None = "4/4",
    energy: float = 0.5,
    swing: float | None = None,
    silence: float = 0.0,
) -> Descriptors:
    parsed = None if key is None else Key.parse(key)
    return Descriptors(
        tempo_bpm=tempo_bpm,
        time_signature=signature,
        key=None if parsed is None else KeyGuess(parsed.tonic, parsed.mode, confidence),
        camelot=None if key is None else "8B",
        energy=energy,
        loudness_lufs=-14.0,
        loudness_range_lu=5.0,
        true_peak_dbtp=-1.0,
        pulse_clarity=0.6,
        swing=swing,
        mood=Mood(0.0, 0.0, "cues"),
        spectrum=SPECTRUM,
        quality=Quality(0.0, None, 16000.0, "none", 0.0, None, silence),
    )


def beat(id: str, label: str = "trap", path: str = "", **told: Any) -> Item:
    return Item(id, "beat", id, "", label, path, "", 20.0, "", "", 0.0, descriptors(**told))


@dataclass(frozen=True, eq=False)
class Take:
    """What `backbeat.analysis.describing.Described` tells the selector."""

    descriptors: Descriptors
    take_vector: NDArray[np.float32] | None = None
    genre: dict[str, float] = field(default_factory=lambda: {"trap": 0.7, "house": 0.2, "jazz": 0.1})

    @property
    def analysis(self) -> Analysis:
        told = self.descriptors
        genre = GenreGuess("trap", self.genre, False)
        return Analysis(
            "take.wav", 20.0, 44100, told.tempo_bpm, told.time_signature, (), (), (), genre, told.key, -14.0, {}
        )


@dataclass
class Beats:
    """A catalogue."""

    items: list[Item]
    matrix: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 2), np.float32))
    vector_ids: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        rows = [{"id": one.id, "label": one.label, "artist": one.artist, **row_of(one)} for one in self.items]
        self._table = table_of(rows)

    def table(self, kind: str) -> ItemTable:
        assert kind == "beat"
        return self._table

    def vectors(self, space: str, kind: str) -> tuple[tuple[str, ...], NDArray[np.float32]]:
        assert (space, kind) == (SPACE, "beat")
        return self.vector_ids, self.matrix

    def get(self, id: str) -> Item:
        for one in self.items:
            if one.id == id:
                return one
        raise UnknownItemError(id)

    def close(self) -> None:
        pass


def weights(**changed: float) -> Weights:
    """Weights of 1 around centres of a half, but for what is changed."""
    return Weights({name: changed.get(name, 1.0) for name in PARTS}, dict.fromkeys(PARTS, 0.5), 1.0, 0.0, {})


def both_weights() -> dict[str, Weights]:
    return {"rules": replace(weights(), slope=2.0), "model": weights(learned=5.0)}
