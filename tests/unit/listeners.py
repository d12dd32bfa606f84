"""Made-up tracks whose spectrograms spell out their own truth, and models that can read it: no training, known scores.

Band b < 10 is 1 where drum b is struck; band 10 where a note begins; bands 11 and 12 at beats and downbeats; band
13 + k is 1 throughout for genre k. A track can be made to lie, so that a model that reads it errs in a known way.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backbeat.beat.network import BeatNetwork
from backbeat.beat.tracker import BeatTracker
from backbeat.dataset import write_features
from backbeat.features import FeatureParams
from backbeat.genre.classifier import GenreClassifier, GenreResult
from backbeat.genre.network import GenreNetwork
from backbeat.model import ModelSpec
from backbeat.music import DRUMS, NOTE, Beats, Onsets
from backbeat.onset.detector import OnsetDetector
from backbeat.onset.network import OnsetNetwork

FEATURES = FeatureParams(mel_bands=24)
RATE_HZ = 100
STYLES = ("funk", "jazz", "waltz")
BEAT_BAND, GENRE_BAND = 11, 13


@dataclass
class Made:
    """A made-up track: its truth, and what its spectrogram claims."""

    id: str
    split: str
    style: str
    beats: Beats
    onsets: Onsets
    log_mel: NDArray[np.float32]


def make_track(
    number: int, split: str = "test", duration_s: float = 16.0, *, late_s: float = 0.0, genre: str = ""
) -> Made:
    """Make a track; with `late_s` its spectrogram claims everything later than it is, with `genre` another genre."""
    style = STYLES[number % len(STYLES)]
    meter = 3 if style == "waltz" else 4
    times_s = np.arange(0.5, duration_s - 0.5, 0.5)
    beats = Beats(times_s, np.arange(times_s.size) % meter + 1)
    events = sorted(
        [(time_s, "hihat_closed") for time_s in times_s]
        + [(time_s, "kick" if index % 2 == 0 else "snare") for index, time_s in enumerate(times_s)]
        + [(time_s + 0.26, NOTE) for time_s in times_s[::4]]
    )
    onsets = Onsets(np.array([time_s for time_s, _ in events]), [name for _, name in events])
    log_mel = np.zeros((round(duration_s * RATE_HZ) + 1, FEATURES.mel_bands), dtype=np.float32)

    def mark(band: int, at_s: NDArray[np.float64]) -> None:
        frames = np.rint((at_s + late_s) * RATE_HZ).astype(int)
        log_mel[frames[frames < len(log_mel)], band] = 1.0

    for band, name in enumerate((*DRUMS, NOTE)):
        mark(band, onsets.of(name).times_s)
    mark(BEAT_BAND, beats.times_s)
    mark(BEAT_BAND + 1, beats.downbeats_s)
    log_mel[:, GENRE_BAND + STYLES.index(genre or style)] = 1.0
    return Made(f"t{number:03d}", split, style, beats, onsets, log_mel)


def write_made(root: Path, tracks: list[Made], corpus: str = "made") -> None:
    """Write labels and features of the tracks where the stages would: `root`/labels and `root`/features."""
    lines: dict[str, list[dict[str, Any]]] = {"audio": [], "beat": [], "onset": [], "genre": []}
    for track in tracks:
        common = {"id": track.id, "split": track.split, "genre": track.style}
        signature = "3/4" if track.style == "waltz" else "4/4"
        beats = {"times_s": track.beats.times_s.tolist(), "positions": track.beats.positions.tolist()}
        lines["audio"].append({"id": track.id, "path": f"{track.id}.wav", "sha256": ""})
        lines["beat"].append({**common, **beats, "time_signature": signature})
        onsets = {"times_s": track.onsets.times_s.tolist(), "classes": list(track.onsets.classes)}
        lines["onset"].append({**common, **onsets, "velocities": track.onsets.velocities.tolist()})
        lines["genre"].append(common)
    for task, rows in lines.items():
        path = root / "labels" / task / f"{corpus}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    write_features(root / "features" / corpus, FEATURES, [(track.id, track.log_mel) for track in tracks])


class ReadingTracker(BeatTracker):
    """Reads the beats that the spectrogram claims."""

    def activations(self, log_mel):
        claims = log_mel[:, BEAT_BAND : BEAT_BAND + 2]
        padded = np.pad(claims, ((0, len(claims) % 2), (0, 0)))
        return padded.reshape(-1, 2, 2).max(axis=1)

    def decode(self, activations):
        frames = np.flatnonzero(activations[:, 0])
        first = activations[frames, 1] > 0
        since = np.arange(frames.size) - np.maximum.accumulate(np.where(first, np.arange(frames.size), 0))
        return Beats(frames / self.frame_rate_hz, since + 1)


class ReadingDetector(OnsetDetector):
    """Reads the onsets that the spectrogram claims."""

    def activations(self, log_mel):
        drums = log_mel[:, : len(DRUMS)]
        return np.concatenate([log_mel[:, : len(DRUMS) + 1].max(axis=1, keepdims=True), drums, drums], axis=1)

    def decode(self, activations):
        every = np.flatnonzero(activations[:, 0])
        frames, columns = np.nonzero(activations[:, 1 : 1 + len(DRUMS)])
        drums = Onsets(frames / RATE_HZ, [DRUMS[column] for column in columns])
        return Onsets(every / RATE_HZ), drums


class ReadingClassifier(GenreClassifier):
    """Reads the genre that the spectrogram claims, and is 80 % sure of it."""

    def classify(self, log_mel):
        claimed = int(log_mel[0, GENRE_BAND : GENRE_BAND + len(STYLES)].argmax())
        shares = {name: 0.8 if index == claimed else 0.1 for index, name in enumerate(STYLES)}
        ordered = dict(sorted(shares.items(), key=lambda item: -item[1]))
        return GenreResult(next(iter(ordered)), ordered, np.zeros(4, np.float32))


def spec_of(task: str, **extra: Any) -> ModelSpec:
    """Give the specification of a tiny model."""
    small = {"channels": [4, 4, 4], "width": 8, "layers": 2, "kernel": 3, "dropout": 0.0}
    classes = {"beat": ("beat", "downbeat"), "onset": ("onset", *DRUMS), "genre": STYLES}[task]
    decoding = {"window_s": 5.0, "hop_s": 2.5} if task == "genre" else {}
    network = {**small, "embedding": 8} if task == "genre" else small
    values = {"run": "", "commit": "abc123", "data_hash": "made=md5:0123", **extra}
    return ModelSpec(task, f"backbeat-{task}", "0.1.0", network, FEATURES, classes, decoding, **values)


def network_of(spec: ModelSpec):
    """Make the untrained network of a specification."""
    if spec.task == "beat":
        return BeatNetwork(spec.features.mel_bands, **spec.network)
    if spec.task == "onset":
        return OnsetNetwork(spec.features.mel_bands, **spec.network)
    return GenreNetwork(spec.features.mel_bands, len(spec.classes), **spec.network)


def reading_model(task: str, **extra: Any):
    """Give a model that believes every spectrogram."""
    spec = spec_of(task, **extra)
    cls = {"beat": ReadingTracker, "onset": ReadingDetector, "genre": ReadingClassifier}[task]
    return cls(network_of(spec), spec)
