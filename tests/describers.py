"""A describer that hears nothing but the sound's fingerprint, and files of sound for it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import soundfile
from catalogues import SPACE, descriptors, vector
from numpy.typing import NDArray

from backbeat.analysis.describing import Described
from backbeat.audio import decode
from backbeat.audio.fingerprint import fingerprint
from backbeat.errors import SilentAudioError
from backbeat.files import sha256_file

RATE_HZ = 16000


def music(seed: int, seconds: float = 12.0) -> NDArray[np.float64]:
    """Notes and strokes, other ones for each seed."""
    random = np.random.default_rng(seed)
    sound = np.zeros(round(seconds * RATE_HZ))
    moments = np.arange(RATE_HZ // 4) / RATE_HZ
    for begin in range(0, sound.size - moments.size, round(RATE_HZ * 0.17)):
        tone_hz = 220.0 * 2 ** (random.integers(0, 30) / 12)
        note = sum(np.sin(2 * np.pi * part * tone_hz * moments) / part for part in (1, 2, 3, 5))
        sound[begin : begin + moments.size] += note * np.exp(-8 * moments)
    return 0.8 * sound / np.abs(sound).max()


def write_music(path: Path, seed: int, seconds: float = 12.0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, music(seed, seconds), RATE_HZ)
    return path


class StandIn:
    """Describes files without any model."""

    def __init__(self, space: str = SPACE) -> None:
        self.space = space
        self.heard: list[str] = []

    def describe(self, path: Path | str) -> Described:
        sound = decode(Path(path)).mono
        if not sound.any():
            raise SilentAudioError(path, "is silent")
        self.heard.append(Path(path).name)
        analysis: Any = SimpleNamespace(duration_s=sound.size / RATE_HZ, genre=SimpleNamespace(label="house"))
        sha256 = sha256_file(Path(path))
        return Described(
            analysis=analysis,
            descriptors=descriptors(np.random.default_rng(1)),
            vectors={self.space: vector(int(sha256[:8], 16))},
            take_vector=None,
            fingerprint=fingerprint(sound.astype(np.float32), RATE_HZ),
            sha256=sha256,
        )
