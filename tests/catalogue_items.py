"""Items of a catalogue as nobody ever heard them: for tests and timings of what is around them, never for results."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from backbeat.analysis.descriptors import Descriptors, Mood, Quality, Spectrum
from backbeat.analysis.result import KeyGuess
from backbeat.music import Key
from backbeat.music.theory import MODES, TONICS
from backbeat.recommend.items import Item, Kind

LABELS = ("afro", "boom_bap", "house", "jazz", "rock", "trap")


def descriptors(tempo_bpm: float | None = 120.0, key: Key | None = None, energy: float = 0.5) -> Descriptors:
    return Descriptors(
        tempo_bpm=tempo_bpm,
        time_signature="4/4",
        key=None if key is None else KeyGuess(key.tonic, key.mode, 0.8),
        camelot=None,
        energy=energy,
        loudness_lufs=-12.0,
        loudness_range_lu=5.0,
        true_peak_dbtp=-1.0,
        pulse_clarity=0.6,
        swing=0.5,
        mood=Mood(0.1, 0.2, "cues"),
        spectrum=Spectrum(
            centroid_hz=(2000.0, 500.0),
            bandwidth_hz=(1500.0, 300.0),
            rolloff_hz=(4000.0, 900.0),
            flatness=(0.1, 0.05),
            flux=(0.2, 0.1),
            contrast_db=(20.0,) * 7,
            mfcc_mean=(1.0,) * 20,
            mfcc_std=(1.0,) * 20,
        ),
        quality=Quality(0.0, -70.0, 20000.0, "none", 0.0, 0.9, 0.0),
    )


def item(name: str, kind: Kind, told: Descriptors | None = None, label: str = "house", at: float = 1e9) -> Item:
    return Item(
        id=name,
        kind=kind,
        title=f"{name} by hand",
        artist="",
        label=label,
        path="",
        sha256=hashlib.sha256(name.encode()).hexdigest(),
        duration_s=20.0,
        source="made up",
        licence="CC0-1.0",
        added_at=at,
        descriptors=told or descriptors(),
    )


def unit(rows: int, length: int, seed: int) -> NDArray[np.float32]:
    """Return random vectors of length one, shape (rows, length)."""
    made = np.random.default_rng(seed).standard_normal((rows, length)).astype(np.float32)
    return made / np.linalg.norm(made, axis=1, keepdims=True)


def many(count: int, kind: Kind, seed: int) -> Iterator[Item]:
    """Give items whose tempi, keys, energies and labels are drawn by chance."""
    random = np.random.default_rng(seed)
    for number in range(count):
        key = Key(TONICS[random.integers(12)], MODES[random.integers(2)])
        told = descriptors(float(random.uniform(60, 180)), key, float(random.uniform()))
        yield item(f"{kind}-{number:06d}", kind, told, str(random.choice(LABELS)), float(random.uniform(1e9, 1.7e9)))
