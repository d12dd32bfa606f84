"""A second judgement of every stroke, by its attack and by the other strokes of its song.

The onset network hears a third of a second to either side. What it cannot know is the song: what this snare and this
floor tom sound like, whether there is a ride at all. So each moment at which something may be struck is described by
what the network says of it, by the spectrum of its attack and decay against the song's other strokes, and by what the
network says of the strokes that sound most like it; and a few small networks, trained on rendered music only
(`classify_train`), say which drums are struck there.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from backbeat.errors import ModelError
from backbeat.files import atomic_path
from backbeat.music import DRUMS
from backbeat.onset.decode import refined

WEIGHTS, SPEC, CARD = "model.safetensors", "spec.json", "README.md"
SPEC_VERSION = 1
#: A moment is looked at where any activation has a peak of this height and prominence …
LEAST_HEIGHT, LEAST_PROMINENCE = 0.06, 0.03
#: … that is the highest within as many frames.
APART_FRAMES = 3
#: A stroke of a drum lies at most this far from its moment, frames.
REACH_FRAMES = 3
#: Bands of the spectrogram that are taken together.
_GROUP = 4
#: Parts of a stroke, frames from its moment: before it, attack, and four of decay.
_PARTS: tuple[tuple[int, int], ...] = ((-6, -2), (0, 2), (2, 5), (5, 10), (10, 20), (20, 35))
#: Log-odds are kept within this.
_LIMIT = 8.0
#: How many of the strokes that sound most alike are asked, and of how many strokes of the song.
_ALIKE, _ASKED = 8, 3000


def moments_of(activations: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return the frames at which something may be struck, of activations of shape (frames, 21)."""
    from scipy.signal import find_peaks

    highest = np.pad(activations[:, : 1 + len(DRUMS)].max(axis=1, initial=0.0), 1)
    frames, _ = find_peaks(highest, height=LEAST_HEIGHT, distance=APART_FRAMES, prominence=LEAST_PROMINENCE)
    return np.asarray(frames - 1, dtype=np.int64)


def describe(
    spectrogram: NDArray[np.floating], activations: NDArray[np.float32], moments: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Describe the moments of a song.

    Parameters
    ----------
    spectrogram
        Shape (frames, mel_bands).
    activations
        Shape (frames, 21), as `OnsetDetector.activations` has it.
    moments
        Frames, at least one.

    Returns
    -------
    Shape (moments, features).
    """
    frames = len(activations)
    bands = np.asarray(spectrogram, dtype=np.float32).reshape(frames, -1, _GROUP).mean(axis=2)
    odds = _log_odds(activations[:, : 1 + len(DRUMS)])

    def at(values: NDArray[np.float32], offset: int) -> NDArray[np.float32]:
        return values[np.clip(moments + offset, 0, frames - 1)]

    def highest(first: int, end: int) -> NDArray[np.float32]:
        found: NDArray[np.float32] = np.maximum.reduce([at(odds, offset) for offset in range(first, end)])
        return found

    near = highest(-REACH_FRAMES, REACH_FRAMES + 1)
    parts = [np.mean([at(bands, offset) for offset in range(*part)], axis=0) for part in _PARTS]
    attack = np.maximum.reduce([at(bands, offset) for offset in range(-1, 4)])
    rise = attack - parts[0]
    sound = np.concatenate([rise, parts[2] - parts[0], parts[4] - parts[0]], axis=1)
    alike, closeness = _said_of_alike(sound, near[:, 1:])
    likely = expit(near[:, 1:])
    song = np.concatenate([likely.mean(axis=0), (likely > 0.5).mean(axis=0), likely.max(axis=0)])
    level = attack.max(axis=1, keepdims=True)
    apart = np.minimum(np.diff(moments, prepend=moments[0] - 100, append=moments[-1] + 100), 100) / 50
    described: NDArray[np.float32] = np.concatenate(
        [
            near,
            highest(-8, -REACH_FRAMES),
            highest(REACH_FRAMES + 1, 9),
            velocities_at(activations, moments),
            np.tile(song, (moments.size, 1)),
            *(part - level for part in parts),
            rise,
            attack - np.median(attack, axis=0),
            parts[3] - np.median(parts[3], axis=0),
            alike,
            closeness,
            apart[:-1, None],
            apart[1:, None],
            level,
        ],
        axis=1,
    ).astype(np.float32)
    return described


def velocities_at(activations: NDArray[np.float32], moments: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return how hard each drum would be struck at each moment, (moments, drums): the mean of the frames around it."""
    around = np.clip(moments[:, None] + np.arange(-2, 3), 0, len(activations) - 1)
    weights = activations[around, 1 : 1 + len(DRUMS)] + 1e-6
    velocities = activations[around, 1 + len(DRUMS) :]
    mean: NDArray[np.float32] = (velocities * weights).sum(axis=1) / weights.sum(axis=1)
    return mean


def stroke_times_s(
    activations: NDArray[np.float32], moments: NDArray[np.int64], frame_rate_hz: float
) -> NDArray[np.float64]:
    """Return when each drum would be struck at each moment, shape (moments, drums): where its own activation peaks."""
    around = np.clip(moments[:, None] + np.arange(-REACH_FRAMES, REACH_FRAMES + 1), 0, len(activations) - 1)
    heard = activations[around, 1 : 1 + len(DRUMS)]
    highest = heard.argmax(axis=1)
    own = np.take_along_axis(around, highest, axis=1)
    # A drum that is hardly heard has no peak of its own: it is struck with the others.
    own = np.where(heard.max(axis=1) > LEAST_HEIGHT, own, moments[:, None])
    drums = np.asarray(activations[:, 1 : 1 + len(DRUMS)], dtype=np.float64)
    return np.stack([refined(drums[:, number], own[:, number]) for number in range(len(DRUMS))], 1) / frame_rate_hz


def _log_odds(probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
    odds: NDArray[np.float32] = np.clip(logit(np.clip(probabilities, 3e-4, 1 - 3e-4)), -_LIMIT, _LIMIT)
    return odds


def _said_of_alike(
    sound: NDArray[np.float32], odds: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the mean log-odds of the strokes that sound most like each, and how alike they are (cosine)."""
    count = len(sound)
    sound = sound - sound.mean(axis=0)
    sound = sound / (np.linalg.norm(sound, axis=1, keepdims=True) + 1e-6)
    # Of a long song only as many strokes are asked, spread evenly, so that time grows with length and not its square.
    asked = np.arange(count) if count <= _ASKED else np.linspace(0, count - 1, _ASKED).astype(np.int64)
    wanted = min(_ALIKE, asked.size - 1)
    said, closeness = np.zeros_like(odds), np.zeros((count, 1), dtype=np.float32)
    if wanted < 1:
        return said, closeness
    for first in range(0, count, 1000):
        piece = np.arange(first, min(first + 1000, count))
        similar = sound[piece] @ sound[asked].T
        similar[piece[:, None] == asked[None, :]] = -2.0
        best = np.argpartition(-similar, wanted - 1, axis=1)[:, :wanted]
        said[piece] = odds[asked][best].mean(axis=1)
        closeness[piece, 0] = np.take_along_axis(similar, best, axis=1).mean(axis=1)
    return said, closeness


@dataclass(frozen=True)
class StrokeSpec:
    """What a stroke classifier is.

    Parameters
    ----------
    name, version
        How it is called.
    thresholds
        From which probability on a drum is struck, by drum; settled on the validation songs.
    networks, hidden
        How many networks there are, and units of their hidden layers.
    seed, songs, strokes
        What it was trained on.
    listener
        The onset model whose activations it judges: its name, version and run.
    licence
        Of the sounds that it was trained on.
    metrics
        F by drum on the validation songs.
    """

    name: str
    version: str
    thresholds: dict[str, float]
    networks: int
    hidden: tuple[int, ...]
    seed: int
    songs: int
    strokes: int
    listener: str
    licence: str
    metrics: dict[str, float] = field(default_factory=dict)


class StrokeClassifier:
    """A few small networks whose log-odds are averaged.

    Parameters
    ----------
    spec
        What they are.
    weights
        By name: "mean" and "scale" of the features, and "N.weight.L", "N.bias.L" of layer L of network N.
    """

    def __init__(self, spec: StrokeSpec, weights: dict[str, NDArray[np.float32]]) -> None:
        self.spec = spec
        self._weights = {name: np.asarray(value, dtype=np.float32) for name, value in weights.items()}

    @classmethod
    def from_folder(cls, folder: Path) -> StrokeClassifier:
        """Load a classifier; ModelError when it is missing, damaged or made for something else."""
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        try:
            values: dict[str, Any] = json.loads((folder / SPEC).read_text(encoding="utf-8"))
            if values.pop("spec_version", None) != SPEC_VERSION:
                raise ModelError(f"{folder}: the stroke classifier is not of version {SPEC_VERSION}")
            spec = StrokeSpec(**{**values, "hidden": tuple(values["hidden"])})
            return cls(spec, load_file(folder / WEIGHTS))
        except (FileNotFoundError, NotADirectoryError):
            train = "python -m backbeat.charts.transcription.classify_train"
            raise ModelError(f"{folder}: no stroke classifier here; `{train}` makes one") from None
        except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
            raise ModelError(f"{folder}: the stroke classifier cannot be read: {error}") from None

    def save(self, folder: Path, card: str) -> None:
        """Write a folder of weights, specification and card, atomically."""
        from safetensors.numpy import save

        with atomic_path(folder) as temporary:
            temporary.mkdir()
            # Half precision is enough for weights, not for what features are centred on.
            small = {
                name: value.astype(np.float32 if name in ("mean", "scale") else np.float16)
                for name, value in self._weights.items()
            }
            (temporary / WEIGHTS).write_bytes(save(small))
            text = json.dumps({"spec_version": SPEC_VERSION, **asdict(self.spec)}, indent=2)
            (temporary / SPEC).write_text(text + "\n", encoding="utf-8")
            (temporary / CARD).write_text(card, encoding="utf-8")

    def probabilities(self, described: NDArray[np.float32]) -> NDArray[np.float32]:
        """Map features, shape (moments, features), to probabilities of `DRUMS`, shape (moments, drums).

        Raises
        ------
        ModelError
            If the features are not those that it was trained on.
        """
        if described.shape[1] != self._weights["mean"].size:
            raise ModelError(
                f"the stroke classifier knows {self._weights['mean'].size} features, not {described.shape[1]}: "
                "it was trained with another onset model"
            )
        scaled = np.clip((described - self._weights["mean"]) / self._weights["scale"], -5, 5)
        total = np.zeros((len(described), len(DRUMS)), dtype=np.float32)
        for number in range(self.spec.networks):
            value = scaled
            for layer in range(len(self.spec.hidden) + 1):
                value = value if layer == 0 else np.maximum(value, 0)
                value = value @ self._weights[f"{number}.weight.{layer}"].T + self._weights[f"{number}.bias.{layer}"]
            total += value
        mean: NDArray[np.float32] = expit(total / self.spec.networks)
        return mean


@lru_cache(maxsize=1)
def shipped_classifier() -> StrokeClassifier:
    """Return the classifier that comes with the package; ModelError where it is missing."""
    return StrokeClassifier.from_folder(Path(__file__).resolve().parents[2] / "weights" / "strokes")
