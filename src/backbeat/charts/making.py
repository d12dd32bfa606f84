"""From one song to a folder that plays: charts, music, sounds, MIDI, JSON and a picture, all of them or none."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backbeat import __version__
from backbeat.audio import AudioLimits, probe
from backbeat.charts.quantise import QuantiseOptions, QuantiseReport, quantise
from backbeat.charts.tiers import TIERS, thin
from backbeat.charts.transcribe import Modes, Transcriber, Transcription
from backbeat.errors import ConfigError, DrumlessAudioError, ModelError
from backbeat.files import atomic_path, sha256_file
from backbeat.music import TimeSignature

if TYPE_CHECKING:
    from backbeat.charts.chart import Chart
    from backbeat.separation.network import SeparatorNetwork

#: What a folder of a chart says of itself.
RECORD = "chart.json"
#: Called with what is being done, and the share of the song that is.
Progress = Callable[[str, float], None]

#: The file of each difficulty, as players of DTX name them.
_DTX_FILES = {"basic": "bas.dtx", "advanced": "adv.dtx", "extreme": "ext.dtx"}
_MUSIC, _PREVIEW, _MIDI, _PICTURE, _SET = "bgm.ogg", "preview.ogg", "chart.mid", "chart.png", "set.def"
#: Fewer strokes a minute than this are no drumming: single false alarms in music without drums.
_LEAST_STROKES_A_MINUTE = 6.0


@dataclass(frozen=True)
class ChartOptions:
    """What is wanted of a chart.

    Parameters
    ----------
    title, artist
        None for those of the file's tags; without a tag, the file's name, and nobody.
    tiers
        Which of `TIERS` to write.
    time_signature, bpm
        The meter of all bars, and the tempo in quarter notes a minute; None as they are heard.
    expressive
        Whether to keep the player's timing.
    modes
        How the drums are transcribed.
    separation
        A separation model with a stem of drums, through which the drums are heard; "auto" for one that is installed,
        if any; "none".
    plot
        Whether to draw a picture.

    Raises
    ------
    ConfigError
        If a tier or the tempo makes no sense.
    """

    title: str | None = None
    artist: str | None = None
    tiers: tuple[str, ...] = TIERS
    time_signature: TimeSignature | None = None
    bpm: float | None = None
    expressive: bool = False
    modes: Modes = field(default_factory=Modes)
    separation: str = "auto"
    plot: bool = True

    def __post_init__(self) -> None:
        for tier in self.tiers:
            if tier not in TIERS:
                raise ConfigError(f"difficulty {tier!r} is none of {', '.join(TIERS)}")
        if not self.tiers:
            raise ConfigError(f"name at least one difficulty of {', '.join(TIERS)}")
        object.__setattr__(self, "tiers", tuple(tier for tier in TIERS if tier in self.tiers))
        if self.bpm is not None and not 20 <= self.bpm <= 400:
            raise ConfigError(f"a tempo of {self.bpm:g} BPM: choose 20 to 400 quarter notes a minute")

    def to_dict(self) -> dict[str, Any]:
        """Return the options as plain values for JSON."""
        signature = None if self.time_signature is None else str(self.time_signature)
        return {**asdict(self), "tiers": list(self.tiers), "time_signature": signature}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ChartOptions:
        """Read what `to_dict` gave; ConfigError where it is something else."""
        try:
            signature = values["time_signature"]
            read = {
                **values,
                "tiers": tuple(values["tiers"]),
                "modes": Modes(**values["modes"]),
                "time_signature": None if signature is None else TimeSignature.parse(signature),
            }
            return cls(**read)
        except (KeyError, TypeError, AttributeError) as error:
            raise ConfigError(f"these are no options of a chart: {error}") from None


@dataclass(frozen=True)
class MadeChart:
    """What came of a song.

    Parameters
    ----------
    folder
        Where everything is.
    files
        By what they are: "basic", "advanced", "extreme", "midi", "json", "music", "preview", "picture", "set".
    report
        What was done, as the JSON has it.
    warnings
        What was wrong with the song, or could not be done as asked.
    skipped
        Whether it was there already, made of the same song in the same way.
    """

    folder: Path
    files: Mapping[str, Path]
    report: Mapping[str, Any]
    warnings: tuple[str, ...] = ()
    skipped: bool = False


class ChartMaker:
    """Makes charts, with models that stay in memory.

    Parameters
    ----------
    transcriber
        Hears beats and drums.
    limits
        The bytes and seconds that a song may have.
    soundfont
        What the sounds of the drums are made from; None for the one that `write_kit` takes.
    """

    def __init__(
        self, transcriber: Transcriber, *, limits: AudioLimits | None = None, soundfont: Path | None = None
    ) -> None:
        self._transcriber = transcriber
        self._limits = AudioLimits() if limits is None else limits
        self._soundfont = soundfont
        self._separators: dict[Path, SeparatorNetwork] = {}

    @classmethod
    def load(
        cls,
        models: Mapping[str, Path] | None = None,
        *,
        limits: AudioLimits | None = None,
        soundfont: Path | None = None,
    ) -> ChartMaker:
        """Load the models: folders by task, "beat" and "onset"; those left out ship in the package.

        Raises
        ------
        ModelError
            If a model is missing, damaged or made for something else.
        """
        return cls(Transcriber.load(models), limits=limits, soundfont=soundfont)

    def make(
        self,
        path: Path,
        folder: Path,
        options: ChartOptions | None = None,
        *,
        replace: bool = False,
        progress: Progress | None = None,
    ) -> MadeChart:
        """Make a song's chart in `folder`, which appears whole or not at all.

        Parameters
        ----------
        path, folder
            The song, and the folder that its chart is to be.
        options
            What is wanted.
        replace
            Whether to replace a chart that is there, made otherwise or of another song.
        progress
            Called with what is done, and the share of the whole; what it raises stops the work.

        Raises
        ------
        AudioError
            If the song cannot be heard, is over the limits, or has no drums (`DrumlessAudioError`).
        ConfigError
            If the folder holds something else, or the options do not fit the song.
        ModelError
            If the separation model is not installed, or has no stem of drums.
        """
        options, tell = options or ChartOptions(), progress or _untold
        separator = self._separator(options.separation)
        made_so = {
            "version": __version__,
            "source_sha256": _hash(path),
            "options": options.to_dict(),
            "separation": None if separator is None else separator[0],
            "models": {task: asdict(origin) for task, origin in self._transcriber.models.items()},
        }
        if before := _made_before(folder, made_so, replace):
            return before
        with tempfile.TemporaryDirectory(prefix="backbeat-chart-") as temporary:
            stems = {} if separator is None else self._stems(path, Path(temporary), separator, tell)
            tell("hearing", 0.1 if separator is None else 0.6)
            heard = self._transcriber.transcribe(
                path, drums=stems.get("drums"), modes=options.modes, limits=self._limits
            )
            _check_drums(path, heard)
            tell("quantising", 0.7)
            chart, quantised = quantise(
                heard.strokes,
                heard.beats,
                heard.onsets_s,
                heard.duration_s,
                QuantiseOptions(options.time_signature, options.bpm, options.expressive),
            )
            tell("writing", 0.75)
            with atomic_path(folder) as scratch:
                scratch.mkdir()
                made = _write(scratch, path, options, heard, chart, quantised, stems, made_so, self._soundfont)
        tell("done", 1.0)
        files = {what: folder / file.name for what, file in made.files.items()}
        return MadeChart(folder, files, made.report, made.warnings)
