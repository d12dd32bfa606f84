"""What is known of a track, in one form: a frozen dataclass that is one JSON object of one schema."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from backbeat.analysis.descriptors import KEY_SCHEMA, Descriptors, KeyGuess, descriptors_schema
from backbeat.analysis.schema import SHARE, TEXT, nullable, object_of
from backbeat.errors import AnnotationError, ConfigError
from backbeat.music.drums import DRUMS

#: Raised when a field changes its meaning or goes away; new fields leave it.
SCHEMA_VERSION = 1

TASKS: tuple[str, ...] = ("beat", "onset", "genre")


@dataclass(frozen=True)
class BeatEvent:
    """A beat: its time in seconds and its position in the bar from 1, None where bars are not known."""

    time_s: float
    position: int | None


@dataclass(frozen=True)
class OnsetEvent:
    """Something that begins to sound: its time in seconds and how sure the model is, in (0, 1]."""

    time_s: float
    strength: float


@dataclass(frozen=True)
class DrumEvent:
    """A drum hit: its time in seconds, one of `backbeat.music.DRUMS`, and its velocity in (0, 1]."""

    time_s: float
    drum: str
    velocity: float


@dataclass(frozen=True)
class GenreGuess:
    """The likeliest genre and the probability of each.

    `unsure` when the likeliest is likelier wrong than right, or the track is unlike all that a model of one's own
    genres was shown.
    """

    label: str
    probabilities: dict[str, float]
    unsure: bool


@dataclass(frozen=True)
class ModelOrigin:
    """Where an answer came from: the model, its version, the MLflow run and the hash of the data it learned from."""

    name: str
    version: str
    run: str | None
    data_hash: str | None


@dataclass(frozen=True)
class Analysis:
    """All that Backbeat says of one track.

    Times are seconds from the start of the audio, to 0.1 ms. `tempo_bpm` and `time_signature` are None where no
    beats were found, `key` where nothing tonal sounds, `loudness_lufs` where BS.1770 defines none (shorter than
    0.4 s, or all of it below -70 LUFS). `warnings` says what was wrong with a file that could still be heard.
    `descriptors` are there where they were asked for.
    """

    path: str
    duration_s: float
    sample_rate_hz: int
    tempo_bpm: float | None
    time_signature: str | None
    beats: tuple[BeatEvent, ...]
    onsets: tuple[OnsetEvent, ...]
    drums: tuple[DrumEvent, ...]
    genre: GenreGuess
    key: KeyGuess | None
    loudness_lufs: float | None
    models: Mapping[str, ModelOrigin]
    warnings: tuple[str, ...] = ()
    schema_version: int = SCHEMA_VERSION
    descriptors: Descriptors | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON object: plain lists, dictionaries, strings and numbers, the schema version first."""
        value = asdict(self)
        for name in ("beats", "onsets", "drums", "warnings"):
            value[name] = list(value[name])
        value["descriptors"] = None if self.descriptors is None else self.descriptors.to_dict()
        return {"schema_version": value.pop("schema_version"), **value}

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Analysis:
        """Read what `to_dict` wrote; fields added later are passed over.

        Raises
        ------
        AnnotationError
            If a field is missing or malformed, or the schema version is another one.
        """
        if value.get("schema_version") != SCHEMA_VERSION:
            raise AnnotationError(f"an analysis of schema {value.get('schema_version')!r}, not {SCHEMA_VERSION}")
        try:
            key, described = value["key"], value.get("descriptors")
            return cls(
                path=str(value["path"]),
                duration_s=float(value["duration_s"]),
                sample_rate_hz=int(value["sample_rate_hz"]),
                tempo_bpm=_optional_float(value["tempo_bpm"]),
                time_signature=None if value["time_signature"] is None else str(value["time_signature"]),
                beats=tuple(BeatEvent(**beat) for beat in value["beats"]),
                onsets=tuple(OnsetEvent(**onset) for onset in value["onsets"]),
                drums=tuple(DrumEvent(**drum) for drum in value["drums"]),
                genre=_genre_guess(value["genre"]),
                key=None if key is None else KeyGuess(key["tonic"], key["mode"], float(key["confidence"])),
                loudness_lufs=_optional_float(value["loudness_lufs"]),
                models={task: ModelOrigin(**origin) for task, origin in value["models"].items()},
                warnings=tuple(value["warnings"]),
                descriptors=None if described is None else Descriptors.from_dict(described),
            )
        except KeyError as error:
            raise AnnotationError(f"an analysis without {error.args[0]!r}") from None
        except (TypeError, ValueError, AttributeError) as error:
            raise AnnotationError(f"a malformed analysis: {error}") from None


def _genre_guess(value: Mapping[str, Any]) -> GenreGuess:
    return GenreGuess(str(value["label"]), dict(value["probabilities"]), bool(value["unsure"]))


def _optional_float(value: Any) -> float | None:
    return None if value is None else float(value)


def analysis_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of `Analysis.to_dict`."""
    time = {"type": "number", "minimum": 0, "description": "seconds from the start of the audio"}
    origin = object_of({"name": TEXT, "version": TEXT, "run": nullable(TEXT), "data_hash": nullable(TEXT)})
    properties: dict[str, Any] = {
        "schema_version": {"const": SCHEMA_VERSION},
        "path": {"type": "string", "description": "the file as it was named"},
        "duration_s": {"type": "number", "exclusiveMinimum": 0},
        "sample_rate_hz": {"type": "integer", "exclusiveMinimum": 0, "description": "of the file"},
        "tempo_bpm": nullable({"type": "number", "exclusiveMinimum": 0, "description": "null without beats"}),
        "time_signature": nullable({"type": "string", "pattern": "^[0-9]{1,2}/(1|2|4|8|16|32)$"}),
        "beats": {
            "type": "array",
            "items": object_of({"time_s": time, "position": nullable({"type": "integer", "minimum": 1})}),
        },
        "onsets": {"type": "array", "items": object_of({"time_s": time, "strength": SHARE})},
        "drums": {
            "type": "array",
            "items": object_of({"time_s": time, "drum": {"enum": list(DRUMS)}, "velocity": SHARE}),
        },
        "genre": object_of(
            {
                "label": TEXT,
                "probabilities": {"type": "object", "additionalProperties": SHARE},
                "unsure": {"type": "boolean", "description": "the label is likelier wrong than right"},
            }
        ),
        "key": nullable(KEY_SCHEMA),
        "loudness_lufs": nullable({"type": "number", "description": "integrated, ITU-R BS.1770-4"}),
        "models": object_of(dict.fromkeys(TASKS, origin)),
        "warnings": {"type": "array", "items": TEXT},
        "descriptors": nullable(descriptors_schema()),
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"https://backbeat.invalid/schema/analysis-{SCHEMA_VERSION}.json",
        "title": "Analysis of a track",
        **object_of(properties, optional={"descriptors"}),
    }


def check_task(task: str) -> str:
    """Return `task`; ConfigError unless it is one of the three."""
    if task not in TASKS:
        raise ConfigError(f"{task!r} is not a task; the tasks are {', '.join(TASKS)}")
    return task
