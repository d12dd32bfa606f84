"""Items that nobody made, to fill catalogues with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backbeat.analysis.descriptors import Descriptors, Mood, Quality, Spectrum
from backbeat.analysis.result import KeyGuess
from backbeat.music.theory import MODES, TONICS
from backbeat.recommend.catalogue import Addition, Catalogue
from backbeat.recommend.items import Item, Kind

SPACE = "genre:0123456789ab"
LABELS = ("afro", "boom_bap", "house", "jazz", "trap")


def descriptors(random: np.random.Generator, **changes: Any) -> Descriptors:
    """Descriptors as large as true ones."""

    def pair() -> tuple[float, float]:
        return tuple(random.uniform(0, 1, 2).round(6).tolist())

    values: dict[str, Any] = {
        "tempo_bpm": float(random.uniform(60, 180)),
        "time_signature": "4/4",
        "key": KeyGuess(str(random.choice(TONICS)), str(random.choice(MODES)), float(random.uniform())),
        "camelot": None,
        "energy": float(random.uniform()),
        "loudness_lufs": float(random.normal(-14, 3)),
        "loudness_range_lu": 6.0,
        "true_peak_dbtp": -1.0,
        "pulse_clarity": float(random.uniform()),
        "swing": 0.5,
        "mood": Mood(0.1, -0.2, "cues"),
        "spectrum": Spectrum(
            pair(),
            pair(),
            pair(),
            pair(),
            pair(),
            tuple(random.normal(size=7).tolist()),
            tuple(random.normal(size=20).tolist()),
            tuple(random.normal(size=20).tolist()),
        ),
        "quality": Quality(0.0, -70.0, 18000.0, "none", 0.0, 0.9, 0.0, ("quiet",)),
    }
    return Descriptors(**{**values, **changes})


def item(
    number: int, *, kind: Kind = "track", seed: int = 0, told: dict[str, Any] | None = None, **changes: Any
) -> Item:
    """An item, the same for the same number."""
    random = np.random.default_rng([seed, number])
    values: dict[str, Any] = {
        "id": f"{kind}-{number:06d}",
        "kind": kind,
        "title": f"Title {number}",
        "artist": f"Artist {number % 7}",
        "label": LABELS[number % len(LABELS)],
        "path": f"/music/{number}.flac",
        "sha256": f"{number:064x}",
        "duration_s": float(random.uniform(20, 300)),
        "source": "drawn",
        "licence": "CC0-1.0",
        "added_at": 1.7e9 + number,
        "descriptors": descriptors(random, **(told or {})),
    }
    return Item(**{**values, **changes})


def vector(number: int, size: int = 8, seed: int = 1) -> NDArray[np.float32]:
    """A vector of length 1, the same for the same number."""
    found = np.random.default_rng([seed, number]).normal(size=size)
    return (found / np.linalg.norm(found)).astype(np.float32)


def addition(number: int, *, kind: Kind = "track", size: int = 8, **changes: Any) -> Addition:
    """An item with a vector and a fingerprint."""
    return item(number, kind=kind, **changes), {SPACE: vector(number, size)}, b"mark-%d" % number


def filled(place: Path | str, tracks: int, beats: int = 0, size: int = 8) -> Catalogue:
    """A catalogue of a folder or URL with so many items."""
    catalogue = Catalogue.open(str(place), make=True)
    catalogue.add_many(addition(number, size=size) for number in range(tracks))
    catalogue.add_many(addition(number, kind="beat", size=size) for number in range(beats))
    return catalogue
