"""From a song to the strokes of its drums: what was struck, when, how hard, and in which lane of a chart.

Beats are heard in the song. Drums are heard in the song, or, where a stem of its drums is given, each in the one of
the two in which it is heard better (`DRUMS_FROM_STEM`).
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from backbeat.charts.chart import Strokes
from backbeat.errors import ModelError
from backbeat.music import DRUMS

if TYPE_CHECKING:
    from backbeat.analysis.result import ModelOrigin
    from backbeat.audio import AudioInfo, AudioLimits
    from backbeat.beat.tracker import BeatTracker
    from backbeat.music import Beats
    from backbeat.onset.detector import OnsetDetector

#: The tasks whose models listen.
TASKS: tuple[str, ...] = ("beat", "onset")
#: Drums that are taken from the stem where there is one: measured by `benchmarks/transcription.py` (docs/charts.md).
DRUMS_FROM_STEM: frozenset[str] = frozenset(DRUMS)


@dataclass(frozen=True)
class Modes:
    """Ways of listening that go beyond the plain one, each on its own or together with others.

    Parameters
    ----------
    rock
        Strokes of which the onset model is in two minds are judged by where rock drummers put them in the bar
        (`modes_rock`).
    ensemble
        The model hears the song at several pitches, and the mean counts (`modes`).
    multi_scale
        The model hears the song through windows of several lengths, and the mean counts (`modes`).
    advanced_features
        A second network judges every stroke again, by its attack and by the other strokes of the song (`classify`).
    """

    rock: bool = False
    ensemble: bool = False
    multi_scale: bool = False
    advanced_features: bool = False


@dataclass(frozen=True, eq=False)
class Transcription:
    """What was heard in a song.

    Parameters
    ----------
    strokes
        Of the drums, in lanes; none where no drums are heard.
    beats
        With their positions in the bar.
    duration_s
        Length of the audio.
    onsets_s
        Shape (onsets,): all that begins to sound, drums or not, seconds.
    outline
        Shape (2, points): lowest and highest sample of equal stretches of the mono mix.
    sources
        "mix" or "drums" by drum: in which recording it was heard.
    models
        Where the answers come from, by task.
    warnings
        What was wrong with files that could still be heard.
    """

    strokes: Strokes
    beats: Beats
    duration_s: float
    onsets_s: NDArray[np.float64]
    outline: NDArray[np.float32]
    sources: Mapping[str, str]
    models: Mapping[str, ModelOrigin]
    warnings: tuple[str, ...] = field(default=())


@dataclass(frozen=True, eq=False)
class _Sound:
    """A decoded recording.

    Parameters
    ----------
    mono
        Shape (samples,), at the rate of the front end; mapped from a file, so that hours need no memory.
    spectrogram
        Shape (frames, mel_bands).
    """

    mono: NDArray[np.float32]
    spectrogram: NDArray[np.float32]
    info: AudioInfo
    warnings: tuple[str, ...]


class Transcriber:
    """Transcribes the drums of songs with a model for beats and one for onsets.

    Two threads are at work: with `torch.set_num_threads(1)`, as the command line has it, that is fastest.

    Parameters
    ----------
    beat, onset
        Loaded models.

    Raises
    ------
    ModelError
        If they were trained on different front ends: they share one spectrogram.
    """

    def __init__(self, beat: BeatTracker, onset: OnsetDetector) -> None:
        from backbeat.features import LogMel

        if onset.spec.features != beat.spec.features:
            raise ModelError(
                "the models for beat and onset were trained on different spectrograms; train them on the same features"
            )
        self._beat, self._onset = beat, onset
        self._front_end = LogMel(beat.spec.features)

    @classmethod
    def load(cls, models: Mapping[str, Path] | None = None) -> Transcriber:
        """Load both models.

        Parameters
        ----------
        models
            Folders by task, as for `Analyzer.load`; a task that is left out gets the model that ships in the package.

        Raises
        ------
        ConfigError
            If a task is unknown.
        ModelError
            If a model is missing, damaged or made for something else.
        """
        from backbeat.analysis.analyzer import shipped_models
        from backbeat.analysis.result import check_task
        from backbeat.beat.tracker import BeatTracker
        from backbeat.onset.detector import OnsetDetector

        folders = shipped_models() | {check_task(task): Path(folder) for task, folder in (models or {}).items()}
        return cls(BeatTracker.from_folder(folders["beat"]), OnsetDetector.from_folder(folders["onset"]))

    def models_of(self, modes: Modes) -> dict[str, ModelOrigin]:
        """Where the answers of these modes come from, by task."""
        from backbeat.analysis.analyzer import origin_of
        from backbeat.analysis.result import ModelOrigin
        from backbeat.charts.transcription.classify import shipped_classifier

        models = {"beat": origin_of(self._beat.spec), "onset": origin_of(self._onset.spec)}
        if modes.advanced_features:
            spec = shipped_classifier().spec
            models["strokes"] = ModelOrigin(spec.name, spec.version, None, None)
        return models

    def transcribe(
        self,
        path: Path,
        *,
        drums: Path | None = None,
        modes: Modes = Modes(),
        limits: AudioLimits | None = None,
    ) -> Transcription:
        """Transcribe a song.

        Parameters
        ----------
        path
            The song.
        drums
            Its drums alone, as a separation gives them: from the same beginning.
        modes
            How to listen.
        limits
            On both files.

        Raises
        ------
        AudioError
            If a file cannot be heard, is silent, or is over the limits. Drums that are silent are no error: then the
            song has none.
        """
        from backbeat.analysis.analyzer import beats_within
        from backbeat.analysis.hearing import OUTLINE_POINTS, waveform_outline
        from backbeat.charts.transcription.hits import hits_of, hits_within
        from backbeat.charts.transcription.lanes import in_lanes

        song = self._decode(path, limits)
        stem = None if drums is None else self._decode(drums, limits, allow_silence=True)
        duration_s = song.mono.size / self._front_end.params.sample_rate_hz
        # Networks as small as these gain little from several threads each, and much from one beside the other.
        with ThreadPoolExecutor(1, "backbeat-transcription") as beside:
            struck = beside.submit(self._activations, song, modes)
            beats = beats_within(self._beat.track(song.spectrogram), duration_s)
            activations = struck.result()
        onsets, _ = self._onset.decode(activations)
        drumming = song if stem is None else stem
        heard = activations if stem is None else _joined(activations, self._activations(stem, modes))
        hits = hits_within(hits_of(heard, drumming.spectrogram, self._onset, beats, modes), duration_s)
        crashes_s = hits.of("crash").times_s
        return Transcription(
            strokes=in_lanes(hits, self._crash_places(drumming, crashes_s, limits)),
            beats=beats,
            duration_s=duration_s,
            onsets_s=onsets.times_s[onsets.times_s <= duration_s],
            outline=waveform_outline(song.mono, OUTLINE_POINTS),
            sources={name: "drums" if stem is not None and name in DRUMS_FROM_STEM else "mix" for name in DRUMS},
            models=self.models_of(modes),
            warnings=tuple(
                dict.fromkeys((*song.warnings, *(() if stem is None else stem.warnings), *self._doubts(modes)))
            ),
        )

    def _doubts(self, modes: Modes) -> Iterator[str]:
        """Yield a warning where the second judge of strokes learned from another onset model than this one."""
        if modes.advanced_features:
            from backbeat.charts.transcription.classify import shipped_classifier

            learned, heard = shipped_classifier().spec.listener, self._onset.spec
            if learned != f"{heard.name} {heard.version}":
                yield f"--advanced-features judges what {heard.name} {heard.version} hears as if it were {learned}"

    def _decode(self, path: Path, limits: AudioLimits | None, *, allow_silence: bool = False) -> _Sound:
        from backbeat.audio import AudioLimits, decode
        from backbeat.features import log_mel

        audio = decode(
            path,
            sample_rate_hz=self._front_end.params.sample_rate_hz,
            mono=True,
            limits=limits or AudioLimits(),
            allow_silence=allow_silence,
            spool=Path(tempfile.gettempdir()),
        )
        return _Sound(audio.mono, log_mel(audio.mono, self._front_end), audio.info, audio.warnings)

    def _activations(self, sound: _Sound, modes: Modes) -> NDArray[np.float32]:
        """Return what the onset model says of each frame, shape (frames, 21), in the ways of listening asked for."""
        from backbeat.charts.transcription.modes import listened

        return listened(
            self._onset, sound.mono, sound.spectrogram, ensemble=modes.ensemble, multi_scale=modes.multi_scale
        )

    def _crash_places(
        self, sound: _Sound, times_s: NDArray[np.float64], limits: AudioLimits | None
    ) -> NDArray[np.float64] | None:
        """Return from where crashes sound, -1 (left) to 1, or None where the recording or their number cannot tell."""
        from backbeat.audio import AudioLimits, decode
        from backbeat.charts.transcription.lanes import FEWEST_OF_A_SIDE, attack_places

        if sound.info.channels != 2 or times_s.size < 2 * FEWEST_OF_A_SIDE:
            return None
        # A second decoding, which few songs need, costs less than two channels kept of every song.
        rate_hz = self._front_end.params.sample_rate_hz
        both = decode(
            sound.info.path,
            sample_rate_hz=rate_hz,
            limits=limits or AudioLimits(),
            allow_silence=True,
            spool=Path(tempfile.gettempdir()),
        )
        return attack_places(both.samples, rate_hz, times_s)


def _joined(song: NDArray[np.float32], stem: NDArray[np.float32]) -> NDArray[np.float32]:
    """Take drums from the song or the stem as `DRUMS_FROM_STEM` says; shape (frames, 21), as long as the song."""
    length = min(len(song), len(stem))
    joined = song.copy()
    joined[length:, 1:] = 0
    columns = [1 + number for number, name in enumerate(DRUMS) if name in DRUMS_FROM_STEM]
    columns += [column + len(DRUMS) for column in columns]
    joined[:length, columns] = stem[:length, columns]
    return joined
