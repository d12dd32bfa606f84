"""Three trained models, the key and the loudness, put to work on one recording.

A ladder, each rung usable alone: `Analyzer.analyze` takes a file, `Analyzer.analyze_audio` takes samples; the
classes of `backbeat.beat`, `backbeat.onset` and `backbeat.genre` take a spectrogram.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from backbeat.analysis.descriptors import KeyGuess
from backbeat.analysis.hearing import Heard, hear, hear_samples
from backbeat.analysis.result import (
    TASKS,
    Analysis,
    BeatEvent,
    DrumEvent,
    GenreGuess,
    ModelOrigin,
    OnsetEvent,
    check_task,
)
from backbeat.errors import ConfigError, ModelError

if TYPE_CHECKING:
    from backbeat.analysis.key import KeyEstimate
    from backbeat.audio import AudioLimits
    from backbeat.batching import Batched
    from backbeat.beat.tracker import BeatTracker
    from backbeat.features import LogMel
    from backbeat.genre.classifier import GenreClassifier, GenreResult
    from backbeat.model import ModelSpec
    from backbeat.music import Beats, Onsets
    from backbeat.onset.detector import OnsetDetector

#: What each field of an analysis needs, of those that a model gives.
_NEEDS: dict[str, frozenset[str]] = {
    "tempo_bpm": frozenset({"beat"}),
    "time_signature": frozenset({"beat", "onset"}),
    "beats": frozenset({"beat"}),
    "onsets": frozenset({"onset"}),
    "drums": frozenset({"onset"}),
    "genre": frozenset({"genre"}),
    "descriptors": frozenset({"beat", "onset", "genre"}),
}


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


@dataclass(frozen=True, eq=False)
class Judgement:
    """Fields of an analysis, and what monitoring keeps beside them.

    Parameters
    ----------
    fields
        As `Analysis.to_dict` has them.
    embedding
        Shape (length,), the genre network's summary of the track; None when no genre was asked for.
    beat_confidence
        Mean probability of a beat where beats were found, 0 to 1; None where none were, or none were asked for.
    """

    fields: dict[str, Any]
    embedding: NDArray[np.float32] | None = None
    beat_confidence: float | None = None


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
        self.check_front_end(onset.spec, genre.spec)
        self._front_end = LogMel(beat.spec.features)
        self._shared: list[Batched] = []

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

    def check_front_end(self, *others: ModelSpec) -> None:
        """Raise ModelError if a model was trained on another spectrogram than the one for beats."""
        for other in others:
            if other.features != self._beat.spec.features:
                raise ModelError(
                    f"the models for beat and {other.task} were trained on different spectrograms; "
                    "train them on the same features"
                )

    @property
    def front_end(self) -> LogMel:
        """Through which the models hear."""
        return self._front_end

    @property
    def space(self) -> str:
        """Where the genre model's embeddings can be compared: "genre:" and twelve digits of the weights' SHA-256."""
        return self._genre.space

    @property
    def specs(self) -> dict[str, ModelSpec]:
        """What is told of each model, by task."""
        return {"beat": self._beat.spec, "onset": self._onset.spec, "genre": self._genre.spec}

    @property
    def models(self) -> dict[str, ModelOrigin]:
        """Where the answers come from, by task."""
        return {task: origin_of(spec) for task, spec in self.specs.items()}

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
        return self.judge(hear(path, self._front_end, limits))

    def analyze_audio(self, samples: NDArray[np.float32], sample_rate_hz: int, path: str = "") -> Analysis:
        """Analyse samples, shape (channels, samples) or (samples,), full scale ±1; `path` is only repeated.

        Raises
        ------
        ConfigError
            If there are no samples, or some are not finite.
        """
        return self.judge(hear_samples(samples, sample_rate_hz, self._front_end, path))[0]

    def judge(self, heard: Heard) -> tuple[Analysis, Evidence]:
        """Let the models judge a recording that was heard through their front end; return the activations too."""
        # Networks as small as these gain little from several threads each, and much from one beside the other.
        with ThreadPoolExecutor(1, "backbeat-analysis") as beside:
            struck = beside.submit(self._onset_activations_and_events, heard.spectrogram)
            genre = beside.submit(self._genre.classify, heard.spectrogram)
            beat_activations = self._beat.activations(heard.spectrogram)
            beats = beats_within(self._beat.decode(beat_activations), heard.duration_s)
            onset_activations, onsets, drums = struck.result()
            guess = genre.result()
        evidence = Evidence(
            outline=heard.outline,
            beat_activations=beat_activations,
            beat_rate_hz=self._beat.frame_rate_hz,
            onset_activation=onset_activations[:, 0],
            onset_rate_hz=self._onset.frame_rate_hz,
            embedding=guess.embedding,
        )
        return _analysis(heard, self.models, beats, onsets, drums, guess), evidence

    def judge_fields(self, heard: Heard, fields: Collection[str]) -> Judgement:
        """Return some fields of an analysis of what was heard, at no more cost.

        Parameters
        ----------
        fields
            Names of fields; the schema version, the models asked and the warnings are always there. Descriptors are
            null unless it was heard with `describe`.

        Raises
        ------
        ConfigError
            If an analysis has no such field.
        """
        known = Analysis.__dataclass_fields__
        for name in fields:
            if name not in known:
                raise ConfigError(f"an analysis has no field {name!r}; it has {', '.join(known)}")
        needing = [name for name in fields if name != "descriptors" or heard.sound is not None]
        tasks = frozenset[str]().union(*(_NEEDS.get(name, frozenset()) for name in needing))
        kept = {*fields, "schema_version", "models", "warnings"}
        if tasks == set(TASKS):
            whole, evidence = self.judge(heard)
            if "descriptors" in needing:
                from backbeat.analysis.cues import descriptors_of

                whole = replace(whole, descriptors=descriptors_of(heard, whole, evidence))
            embedding: NDArray[np.float32] | None = evidence.embedding
            activations: NDArray[np.float32] | None = evidence.beat_activations
        else:
            spectrogram = heard.spectrogram
            activations = self._beat.activations(spectrogram) if "beat" in tasks else None
            beats = None if activations is None else beats_within(self._beat.decode(activations), heard.duration_s)
            onsets, drums = self._onset.detect(spectrogram) if "onset" in tasks else (None, None)
            guess = self._genre.classify(spectrogram) if "genre" in tasks else None
            embedding = None if guess is None else guess.embedding
            asked = {task: origin for task, origin in self.models.items() if task in tasks}
            whole = _analysis(heard, asked, beats, onsets, drums, guess)
        confidence = None if activations is None else self.beat_confidence(activations, whole.beats)
        answer = {name: value for name, value in whole.to_dict().items() if name in kept}
        return Judgement(answer, embedding, confidence)

    def genre_features(self, heard: Heard) -> NDArray[np.float32]:
        """Return the numbers that the genre is told by, of what was heard; tracks that sound alike have them alike."""
        return self._genre.features(heard.spectrogram)

    def genre_of(self, features: NDArray[np.float32]) -> GenreGuess:
        """Return the genre that `genre_features` tell; ConfigError for another number of them."""
        return _genre_guess(self._genre.classify_features(features))

    def share(self, max_rows: int, on_batch: Callable[[str, int], None] | None = None) -> None:
        """Let several threads judge at once, until `close`: what waits for a network goes through it together.

        Parameters
        ----------
        max_rows
            The most windows that go through a network together.
        on_batch
            Told of each batch: the task and the windows.
        """
        from backbeat.batching import Batched

        def together(task: str, network: Any) -> Batched:
            made = Batched(network, max_rows, on_batch and partial(on_batch, task))
            self._shared.append(made)
            return made

        for task, model in (("beat", self._beat), ("onset", self._onset), ("genre", self._genre)):
            model.listen_through(partial(together, task))

    def close(self) -> None:
        """End the threads of `share`, once what waits for them is done; nothing can be judged after it."""
        for network in self._shared:
            network.close()

    def beat_confidence(self, activations: NDArray[np.float32], beats: tuple[BeatEvent, ...]) -> float | None:
        """Return the mean probability of a beat where beats were found; None where none were."""
        frames = np.round(np.array([beat.time_s for beat in beats]) * self._beat.frame_rate_hz).astype(np.int64)
        return float(activations[frames.clip(0, len(activations) - 1), 0].mean()) if len(frames) else None

    def _onset_activations_and_events(
        self, spectrogram: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], Onsets, Onsets]:
        activations = self._onset.activations(spectrogram)
        return activations, *self._onset.decode(activations)


def _analysis(
    heard: Heard,
    models: Mapping[str, ModelOrigin],
    beats: Beats | None,
    onsets: Onsets | None,
    drums: Onsets | None,
    guess: GenreResult | None,
) -> Analysis:
    """Put together what is known of a recording; what was not asked for is empty."""
    from backbeat.beat.decode import estimate_tempo_bpm, estimate_time_signature

    tempo_bpm = None if beats is None else estimate_tempo_bpm(beats)
    signature = None if beats is None or onsets is None else estimate_time_signature(beats, onsets.times_s)
    lufs, duration_s = heard.loudness_lufs, heard.duration_s
    return Analysis(
        path=heard.path,
        duration_s=round(duration_s, 4),
        sample_rate_hz=heard.sample_rate_hz,
        tempo_bpm=None if tempo_bpm is None else round(tempo_bpm, 2),
        time_signature=None if signature is None else str(signature),
        beats=() if beats is None else _beat_events(beats),
        onsets=tuple(OnsetEvent(time_s, strength) for time_s, _, strength in _events(onsets, duration_s)),
        drums=tuple(DrumEvent(*event) for event in _events(drums, duration_s)),
        genre=GenreGuess("", {}, True) if guess is None else _genre_guess(guess),
        key=_key_guess(heard.key),
        loudness_lufs=None if lufs is None else round(lufs, 2),
        models=models,
        warnings=heard.warnings,
    )


def origin_of(spec: ModelSpec) -> ModelOrigin:
    """Return where the answers of a model come from."""
    return ModelOrigin(spec.name, spec.version, spec.run or None, spec.data_hash or None)


def beats_within(beats: Beats, duration_s: float) -> Beats:
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


def _events(onsets: Onsets | None, duration_s: float) -> list[tuple[float, str, float]]:
    if onsets is None:
        return []
    times_s, velocities = np.round(onsets.times_s, 4).tolist(), np.round(onsets.velocities, 3).tolist()
    return [event for event in zip(times_s, onsets.classes, velocities, strict=True) if event[0] <= duration_s]


def _genre_guess(guess: GenreResult) -> GenreGuess:
    return GenreGuess(guess.label, {name: round(share, 4) for name, share in guess.probabilities.items()}, guess.unsure)


def _key_guess(estimate: KeyEstimate | None) -> KeyGuess | None:
    if estimate is None:
        return None
    return KeyGuess(estimate.key.tonic, estimate.key.mode, round(estimate.confidence, 3))
