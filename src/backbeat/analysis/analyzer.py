"""Three trained models, the key and the loudness, put to work on one recording.

A ladder, each rung usable alone: `Analyzer.analyze` takes a file, `Analyzer.analyze_audio` takes samples; the
classes of `backbeat.beat`, `backbeat.onset` and `backbeat.genre` take a spectrogram.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from backbeat.analysis.result import (
    TASKS,
    Analysis,
    BeatEvent,
    DrumEvent,
    GenreGuess,
    KeyGuess,
    ModelOrigin,
    OnsetEvent,
    check_task,
)
from backbeat.errors import ConfigError, ModelError

if TYPE_CHECKING:
    from backbeat.analysis.key import KeyEstimate
    from backbeat.audio import AudioLimits
    from backbeat.beat.tracker import BeatTracker
    from backbeat.genre.classifier import GenreClassifier
    from backbeat.model import ModelSpec
    from backbeat.music import Beats, Onsets
    from backbeat.onset.detector import OnsetDetector

#: Points of the waveform's outline, enough to look closely at seconds of a track of minutes.
_OUTLINE_POINTS = 40000


@dataclass(frozen=True, eq=False)
class Evidence:
    """What an analysis was read from, for pictures and for whoever wants to look further.

    Parameters
    ----------
    outline
        Shape (2, points): lowest and highest sample of equal stretches of the mono mix.
    beat_activations, beat_rate_hz
        Shape (frames, 2), probability of beat and of downbeat, and frames a second.
    onset_activation, onset_rate_hz
        Shape (frames,), probability of an onset, and frames a second.
    embedding
        Shape (length,), the genre network's summary of the track.
    """

    outline: NDArray[np.float32]
    beat_activations: NDArray[np.float32]
    beat_rate_hz: float
    onset_activation: NDArray[np.float32]
    onset_rate_hz: float
    embedding: NDArray[np.float32]


def shipped_models() -> dict[str, Path]:
    """Return the folder of each model that comes with the package, by task, whether or not it is there."""
    weights = Path(__file__).resolve().parent.parent / "weights"
    return {task: weights / task for task in TASKS}


class Analyzer:
    """Analyses recordings with one model for each task.

    An analysis keeps two threads at work by itself: with `torch.set_num_threads(1)`, as the command line has it, it is
    faster than with more.

    Parameters
    ----------
    beat, onset, genre
        Loaded models.

    Raises
    ------
    ModelError
        If they were trained on different front ends: they share one spectrogram.
    """

    def __init__(self, beat: BeatTracker, onset: OnsetDetector, genre: GenreClassifier) -> None:
        from backbeat.features import LogMel

        self._beat, self._onset, self._genre = beat, onset, genre
        for other in (onset, genre):
            if other.spec.features != beat.spec.features:
                raise ModelError(
                    f"the models for beat and {other.spec.task} were trained on different spectrograms; "
                    "train them on the same features"
                )
        self._front_end = LogMel(beat.spec.features)

    @classmethod
    def load(cls, models: Mapping[str, Path] | None = None) -> Analyzer:
        """Load one model a task.

        Parameters
        ----------
        models
            Folders by task; a task that is left out gets the model that ships in the package.

        Raises
        ------
        ConfigError
            If a task is unknown.
        ModelError
            If a model is missing, damaged or made for something else.
        """
        folders = shipped_models() | {check_task(task): Path(folder) for task, folder in (models or {}).items()}
        for task, folder in folders.items():
            if not folder.is_dir():
                hint = f"train it with `dvc repro`, or name another with --model {task}=FOLDER"
                raise ModelError(f"{folder}: no model for {task} here; {hint}")
        from backbeat.beat.tracker import BeatTracker
        from backbeat.genre.classifier import GenreClassifier
        from backbeat.onset.detector import OnsetDetector

        return cls(
            BeatTracker.from_folder(folders["beat"]),
            OnsetDetector.from_folder(folders["onset"]),
            GenreClassifier.from_folder(folders["genre"]),
        )

    @property
    def models(self) -> dict[str, ModelOrigin]:
        """Where the answers come from, by task."""
        specs = {"beat": self._beat.spec, "onset": self._onset.spec, "genre": self._genre.spec}
        return {task: _origin(spec) for task, spec in specs.items()}

    def analyze(self, path: Path | str, limits: AudioLimits | None = None) -> Analysis:
        """Analyse a file.

        Raises
        ------
        AudioError
            If it cannot be heard, or is over the limits.
        """
        return self.analyze_with_evidence(path, limits)[0]

    def analyze_with_evidence(self, path: Path | str, limits: AudioLimits | None = None) -> tuple[Analysis, Evidence]:
        """Analyse a file, and return the activations too; errors as `analyze`."""
        from backbeat.audio import AudioLimits, decode

        audio = decode(
            Path(path),
            sample_rate_hz=self._front_end.params.sample_rate_hz,
            mono=True,
            limits=AudioLimits() if limits is None else limits,
            measure_loudness=True,
        )
        return self._analyze(audio.mono, str(path), audio.info.sample_rate_hz, audio.loudness_lufs, audio.warnings)

    def analyze_audio(self, samples: NDArray[np.float32], sample_rate_hz: int, path: str = "") -> Analysis:
        """Analyse samples, shape (channels, samples) or (samples,), full scale ±1; `path` is only repeated.

        Raises
        ------
        ConfigError
            If there are no samples, or some are not finite.
        """
        from backbeat.audio import resample
        from backbeat.audio.loudness import loudness_lufs
        from backbeat.audio.mixing import DEFAULT_LAYOUTS, mono_weights

        samples = np.atleast_2d(np.asarray(samples, dtype=np.float32))
        if samples.ndim != 2 or samples.size == 0:
            raise ConfigError(f"samples of shape {samples.shape} hold no audio")
        if not np.isfinite(samples).all():
            raise ConfigError("the samples hold NaN or infinity")
        channels = samples.shape[0]
        mixed = mono_weights(DEFAULT_LAYOUTS.get(channels, ("FC",) * channels)) @ samples
        mono = resample(mixed[np.newaxis], sample_rate_hz, self._front_end.params.sample_rate_hz)[0]
        return self._analyze(mono, path, sample_rate_hz, loudness_lufs(samples, sample_rate_hz), ())[0]

    def _analyze(
        self,
        mono: NDArray[np.float32],
        path: str,
        sample_rate_hz: int,
        lufs: float | None,
        warnings: tuple[str, ...],
    ) -> tuple[Analysis, Evidence]:
        """Analyse samples of shape (samples,) at the rate of the front end; the rest is what is known of the file."""
        from backbeat.analysis.key import estimate_key
        from backbeat.beat.decode import estimate_tempo_bpm, estimate_time_signature
        from backbeat.features import log_mel

        rate_hz = self._front_end.params.sample_rate_hz
        duration_s = mono.size / rate_hz
        # Networks as small as these gain little from several threads each, and much from one beside the other.
        with ThreadPoolExecutor(1, "backbeat-analysis") as beside:
            key = beside.submit(estimate_key, mono, rate_hz)
            spectrogram = log_mel(mono, self._front_end)
            struck = beside.submit(self._onset_activations_and_events, spectrogram)
            genre = beside.submit(self._genre.classify, spectrogram)
            beat_activations = self._beat.activations(spectrogram)
            beats = _within(self._beat.decode(beat_activations), duration_s)
            onset_activations, onsets, drums = struck.result()
            guess = genre.result()
        tempo_bpm = estimate_tempo_bpm(beats)
        signature = estimate_time_signature(beats, onsets.times_s)
        analysis = Analysis(
            path=path,
            duration_s=round(duration_s, 4),
            sample_rate_hz=sample_rate_hz,
            tempo_bpm=None if tempo_bpm is None else round(tempo_bpm, 2),
            time_signature=None if signature is None else str(signature),
            beats=_beat_events(beats),
            onsets=tuple(
                OnsetEvent(time_s, strength) for time_s, _, strength in _events(onsets) if time_s <= duration_s
            ),
            drums=tuple(
                DrumEvent(time_s, drum, velocity) for time_s, drum, velocity in _events(drums) if time_s <= duration_s
            ),
            genre=GenreGuess(
                guess.label, {name: round(share, 4) for name, share in guess.probabilities.items()}, guess.unsure
            ),
            key=_key_guess(key.result()),
            loudness_lufs=None if lufs is None else round(lufs, 2),
            models=self.models,
            warnings=warnings,
        )
        evidence = Evidence(
            outline=_outline(mono),
            beat_activations=beat_activations,
            beat_rate_hz=self._beat.frame_rate_hz,
            onset_activation=onset_activations[:, 0],
            onset_rate_hz=self._onset.frame_rate_hz,
            embedding=guess.embedding,
        )
        return analysis, evidence

    def _onset_activations_and_events(
        self, spectrogram: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], Onsets, Onsets]:
        activations = self._onset.activations(spectrogram)
        return activations, *self._onset.decode(activations)


def _origin(spec: ModelSpec) -> ModelOrigin:
    return ModelOrigin(spec.name, spec.version, spec.run or None, spec.data_hash or None)


def _within(beats: Beats, duration_s: float) -> Beats:
    """Leave out beats that refinement has put past the end of the audio."""
    from backbeat.music import Beats

    inside = beats.times_s <= duration_s
    if inside.all():
        return beats
    return Beats(beats.times_s[inside], None if beats.positions is None else beats.positions[inside])


def _beat_events(beats: Beats) -> tuple[BeatEvent, ...]:
    positions = [None] * len(beats) if beats.positions is None else beats.positions.tolist()
    times_s = np.round(beats.times_s, 4).tolist()
    return tuple(BeatEvent(time_s, position) for time_s, position in zip(times_s, positions, strict=True))


def _events(onsets: Onsets) -> list[tuple[float, str, float]]:
    times_s, velocities = np.round(onsets.times_s, 4).tolist(), np.round(onsets.velocities, 3).tolist()
    return list(zip(times_s, onsets.classes, velocities, strict=True))


def _key_guess(estimate: KeyEstimate | None) -> KeyGuess | None:
    if estimate is None:
        return None
    return KeyGuess(estimate.key.tonic, estimate.key.mode, round(estimate.confidence, 3))


def _outline(mono: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the lowest and highest sample of up to `_OUTLINE_POINTS` equal stretches, shape (2, points)."""
    edges = np.linspace(0, mono.size, min(_OUTLINE_POINTS, max(mono.size, 1)), endpoint=False).astype(np.int64)
    return np.stack([np.minimum.reduceat(mono, edges), np.maximum.reduceat(mono, edges)])
