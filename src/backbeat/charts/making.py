"""From one song to a folder that plays: charts, music, sounds, MIDI, JSON and a picture, all of them or none."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backbeat import __version__
from backbeat.audio import AudioLimits, probe
from backbeat.audio.opening import open_file
from backbeat.charts.chart_json import read_chart_json
from backbeat.charts.dtx.writer import without_collisions
from backbeat.charts.kit import kit_sounds
from backbeat.charts.levels import estimate_level
from backbeat.charts.picture.plots import tempo_text
from backbeat.charts.quantising.quantise import QuantiseOptions, quantise
from backbeat.charts.quantising.quantise_report import QuantiseReport
from backbeat.charts.tiers import TIERS, thin
from backbeat.charts.transcription.transcribe import Modes, Transcriber, Transcription
from backbeat.charts.writing import FILES, RECORD, Song, write_folder
from backbeat.errors import (
    AnnotationError,
    ConfigError,
    DrumlessAudioError,
    ModelError,
)
from backbeat.files import atomic_path, folder_if_filled, sha256_file
from backbeat.music import TimeSignature

if TYPE_CHECKING:
    from backbeat.charts.chart import Chart
    from backbeat.separation.network import SeparatorNetwork

#: Called with what is being done, and the share of the song that is.
Progress = Callable[[str, float], None]

_DRUMS = "drums"
#: Fewer strokes a minute than this are no drumming: single false alarms in music without drums.
_LEAST_STROKES_A_MINUTE = 20.0
#: Fewer strokes a quarter note and a second than these, where there are any, may be none: grooves have two and more.
_FEW_STROKES_A_QUARTER, _FEW_STROKES_A_SECOND = 1.5, 2.0
#: Few strokes that are further than this from the divisions of beats, in the median, are none: drummers keep within 10.
_NO_BEAT_MS = 18.0


@dataclass(frozen=True)
class ChartOptions:
    """What is wanted of a chart.

    Parameters
    ----------
    title, artist
        None for those of the file's tags; without a tag, or for an empty title, the file's name, and nobody.
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
        self.quantising()

    def quantising(self) -> QuantiseOptions:
        """Return what of this is the quantiser's, which says what it can do."""
        return QuantiseOptions(self.time_signature, self.bpm, self.expressive)

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

    Raises
    ------
    CorpusError
        If the soundfont is missing or is none.
    ConfigError
        If it has no drums.
    """

    def __init__(
        self, transcriber: Transcriber, *, limits: AudioLimits | None = None, soundfont: Path | None = None
    ) -> None:
        self._transcriber = transcriber
        self._limits = AudioLimits() if limits is None else limits
        self._soundfont = soundfont
        if soundfont is not None:
            kit_sounds(soundfont)  # before anything long is done
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
            "soundfont_sha256": None if self._soundfont is None else sha256_file(self._soundfont),
            "models": {task: asdict(origin) for task, origin in self._transcriber.models_of(options.modes).items()},
        }
        if before := _made_before(folder, made_so, replace):
            return before
        # Stems of a long song are gigabytes: they are where the chart goes, and not where memory may serve as a disk.
        with (
            folder_if_filled(folder.parent),
            tempfile.TemporaryDirectory(prefix=".chart.", dir=folder.parent) as temporary,
        ):
            stems = {} if separator is None else self._stems(path, Path(temporary), separator, tell)
            tell("hearing", 0.1 if separator is None else 0.6)
            with _one_thread():
                heard = self._transcriber.transcribe(
                    path, drums=stems.get(_DRUMS), modes=options.modes, limits=self._limits
                )
            _check_drums(path, heard)
            tell("quantising", 0.7)
            chart, quantised = quantise(
                heard.strokes,
                heard.beats,
                heard.onsets_s,
                heard.duration_s,
                options.quantising(),
            )
            tell("writing", 0.75)
            chart, clashes = without_collisions(chart)
            tiers = {tier: thin(chart, tier) for tier in options.tiers}
            warnings = (*heard.warnings, *_doubts(path, chart, quantised, options), *quantised.warnings)
            found = _found(heard, chart, quantised, tiers)
            found |= {"ride_and_bell_at_once": clashes, "warnings": list(warnings), "made": made_so}
            with atomic_path(folder) as scratch:
                scratch.mkdir()
                files, report = write_folder(
                    scratch,
                    Song(
                        *labels_of(path, options),
                        [file for stem, file in stems.items() if stem != _DRUMS] or [path],
                        heard.outline,
                        heard.duration_s,
                    ),
                    chart,
                    tiers,
                    found,
                    plot=options.plot,
                    soundfont=self._soundfont,
                    limits=self._limits,
                    spool=Path(temporary),
                )
        tell("done", 1.0)
        return MadeChart(folder, {what: folder / name for what, name in files.items()}, report, warnings)

    def _separator(self, asked: str) -> tuple[str, Path] | None:
        """Return the label and the folder of the separation model that is to be used, None for none."""
        from backbeat.separation.store import installed, locate, read_spec

        if asked == "none":
            return None
        if asked == "auto":
            for folder in installed():
                spec = read_spec(folder)
                if _DRUMS in spec.network.instruments:
                    return spec.label, folder
            return None
        folder = locate(asked)
        spec = read_spec(folder)
        if _DRUMS not in spec.network.instruments:
            stems = ", ".join(spec.network.instruments)
            raise ModelError(f"{asked} has no stem of drums ({stems}): take spleeter:4stems, or --separation none")
        return spec.label, folder

    def _stems(self, path: Path, folder: Path, separator: tuple[str, Path], tell: Progress) -> dict[str, Path]:
        from backbeat.separation.engine import chosen_device
        from backbeat.separation.files import separate_file
        from backbeat.separation.store import load_network

        label, model = separator
        if model not in self._separators:
            self._separators[model] = load_network(model).to(chosen_device("auto"))
        return separate_file(
            path,
            folder / "stems",
            self._separators[model],
            label,
            progress=lambda done_s, total_s: tell("separating", 0.6 * done_s / total_s if total_s else 0.0),
            limits=self._limits,
        ).stems


def labels_of(path: Path, options: ChartOptions) -> tuple[str, str]:
    """Return a song's title and artist: as asked for, else those of its tags, else its file's name and nobody."""
    tags = probe(path).tags if not options.title or options.artist is None else {}
    title = options.title or tags.get("title") or path.stem
    return title, options.artist if options.artist is not None else tags.get("artist", "")


@contextmanager
def _one_thread() -> Iterator[None]:
    """Let torch use a thread for each network, as `Transcriber` says; separation before it takes all."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _untold(_: str, __: float) -> None:
    pass


def _hash(path: Path) -> str:
    with open_file(path):  # which says what is wrong where it is no file
        return sha256_file(path)


def _made_before(folder: Path, made_so: Mapping[str, Any], replace: bool) -> MadeChart | None:
    """Return the chart that is in `folder` if it was made so; ConfigError where something else is to stay there."""
    if folder.parent.exists() and not folder.parent.is_dir():
        raise ConfigError(f"{folder.parent}: is a file: name a folder for the charts")
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return None
    try:
        record = read_chart_json(folder / RECORD) if folder.is_dir() else None
    except AnnotationError:
        record = None
    if record is None:
        raise ConfigError(f"{folder}: is there already and is no chart: choose another place for it")
    if replace:
        return None
    if record.report.get("made") != made_so:
        raise ConfigError(f"{folder}: has a chart made otherwise, or of another song: --force replaces it")
    files = {what: folder / name for what, name in FILES.items() if (folder / name).is_file()}
    return MadeChart(folder, files, record.report, skipped=True)


def _check_drums(path: Path, heard: Transcription) -> None:
    """Refuse what has no drums: a chart of single false alarms helps nobody."""
    least = max(2.0, heard.duration_s / 60 * _LEAST_STROKES_A_MINUTE)
    if len(heard.strokes) < least:
        raise DrumlessAudioError(
            path, f"has no drums that could be charted: {len(heard.strokes)} strokes in {heard.duration_s:.0f} s"
        )


def _doubts(path: Path, chart: Chart, quantised: QuantiseReport, options: ChartOptions) -> list[str]:
    """Say what speaks against drums; refuse what keeps to no beat either, unless its tempo is given."""
    played = [chart.bars[bar] for bar in {note.bar for note in chart.notes}]
    quarters, seconds = (
        sum(values) for values in zip(*((4 * bar.length, bar.duration_s) for bar in played), strict=True)
    )
    if len(chart.notes) >= min(_FEW_STROKES_A_QUARTER * quarters, _FEW_STROKES_A_SECOND * seconds):
        return []
    away_ms = quantised.from_grid.median_ms
    if options.bpm is None and away_ms > _NO_BEAT_MS:
        cause = f"has no drums that could be charted: few strokes, {away_ms:.0f} ms from any beat"
        raise DrumlessAudioError(path, f"{cause}; if it has some, give the tempo (--bpm)")
    return [f"only {len(chart.notes) / quarters:.1f} strokes were heard for each quarter note: are there drums in it?"]


def _found(heard: Transcription, chart: Chart, quantised: QuantiseReport, tiers: Mapping[str, Chart]) -> dict[str, Any]:
    """Return what was done, for the JSON."""
    return {
        "duration_s": round(heard.duration_s, 4),
        "heard_in": dict(heard.sources),
        "notes": {tier: len(thinned.notes) for tier, thinned in tiers.items()},
        "levels": {tier: estimate_level(thinned) for tier, thinned in tiers.items()},
        "tempo": tempo_text(chart),
        "quantising": quantised.to_dict(),
    }
