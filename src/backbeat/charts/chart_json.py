"""A chart as JSON, with all that the other formats cannot hold: when each note was heard, and what was done to it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from backbeat.charts.chart import (
    BAR_TICKS,
    DIVISIONS,
    HIGHEST_BPM,
    LANES,
    LONGEST_BAR,
    LOWEST_BPM,
    Bar,
    Chart,
    ChartNote,
    Tempo,
)
from backbeat.errors import AnnotationError
from backbeat.files import write_json
from backbeat.music import TimeSignature

#: Raised when a field changes its meaning or goes away; new fields leave it.
CHART_SCHEMA_VERSION = 1


@dataclass(frozen=True, eq=False)
class ChartDocument:
    """A chart, what it is called, and what is known of how it came about.

    Parameters
    ----------
    chart
        The chart.
    title, artist
        Of the song.
    report
        What was done: any JSON object.
    """

    chart: Chart
    title: str = ""
    artist: str = ""
    report: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON object of `chart_schema`; `time_s` follows from the bars, and is there for others to read."""
        chart = self.chart
        return {
            "schema_version": CHART_SCHEMA_VERSION,
            "title": self.title,
            "artist": self.artist,
            "duration_s": round(chart.duration_s, 6),
            "bars": [
                {
                    "start_s": round(float(start_s), 6),
                    "length": bar.length,
                    "time_signature": str(bar.signature),
                    "division": bar.division,
                    "tempi": [{"tick": tempo.tick, "bpm": tempo.bpm} for tempo in bar.tempi],
                }
                for start_s, bar in zip(chart.starts_s[:-1], chart.bars, strict=True)
            ],
            "notes": [
                {
                    "bar": note.bar,
                    "tick": note.tick,
                    "lane": note.lane,
                    "velocity": note.velocity,
                    "time_s": round(chart.time_s(note.bar, note.tick), 6),
                    "heard_s": note.heard_s,
                }
                for note in chart.notes
            ],
            "report": dict(self.report),
        }

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> ChartDocument:
        """Read what `to_dict` wrote; fields added later are passed over.

        Raises
        ------
        AnnotationError
            If a field is missing or malformed, the schema version is another one, or the chart cannot be.
        """
        if value.get("schema_version") != CHART_SCHEMA_VERSION:
            raise AnnotationError(f"a chart of schema {value.get('schema_version')!r}, not {CHART_SCHEMA_VERSION}")
        try:
            bars = tuple(
                Bar(
                    length=float(bar["length"]),
                    tempi=tuple(Tempo(int(tempo["tick"]), float(tempo["bpm"])) for tempo in bar["tempi"]),
                    signature=TimeSignature.parse(bar["time_signature"]),
                    division=str(bar["division"]),
                )
                for bar in value["bars"]
            )
            notes = tuple(
                ChartNote(
                    int(note["bar"]),
                    int(note["tick"]),
                    str(note["lane"]),
                    float(note["velocity"]),
                    float(note["heard_s"]),
                )
                for note in value["notes"]
            )
            return cls(Chart(bars, notes), str(value["title"]), str(value["artist"]), dict(value["report"]))
        except KeyError as error:
            raise AnnotationError(f"a chart without {error.args[0]!r}") from None
        except (TypeError, ValueError, AttributeError) as error:
            raise AnnotationError(f"a malformed chart: {error}") from None


def write_chart_json(path: Path, document: ChartDocument) -> None:
    """Write a chart as JSON, atomically."""
    write_json(path, document.to_dict())


def read_chart_json(path: Path) -> ChartDocument:
    """Read what `write_chart_json` wrote.

    Raises
    ------
    AnnotationError
        If the file cannot be read, is not JSON, or is no chart.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise AnnotationError(f"cannot be read ({error.strerror})", path) from None
    except ValueError:
        raise AnnotationError("is not JSON", path) from None
    if not isinstance(value, dict):
        raise AnnotationError("is not a chart", path)
    try:
        return ChartDocument.from_dict(value)
    except AnnotationError as error:
        raise AnnotationError(error.problem, path) from None


def chart_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of `ChartDocument.to_dict`."""
    time = {"type": "number", "minimum": 0, "description": "seconds from the start of the audio"}
    tick = {"type": "integer", "minimum": 0, "exclusiveMaximum": BAR_TICKS, "description": f"of {BAR_TICKS} in a bar"}
    bpm = {"type": "number", "minimum": LOWEST_BPM, "maximum": HIGHEST_BPM, "description": "quarter notes a minute"}
    bar = _object(
        {
            "start_s": time,
            "length": {"type": "number", "exclusiveMinimum": 0, "maximum": LONGEST_BAR, "description": "whole notes"},
            "time_signature": {"type": "string", "pattern": "^[0-9]{1,2}/(1|2|4|8|16|32)$"},
            "division": {"enum": list(DIVISIONS)},
            "tempi": {"type": "array", "minItems": 1, "items": _object({"tick": tick, "bpm": bpm})},
        }
    )
    note = _object(
        {
            "bar": {"type": "integer", "minimum": 0, "description": "from 0"},
            "tick": tick,
            "lane": {"enum": list(LANES)},
            "velocity": {"type": "number", "exclusiveMinimum": 0, "maximum": 1},
            "time_s": {**time, "description": "where the chart has it, seconds from the start of the audio"},
            "heard_s": {"type": "number", "description": "when it was heard, seconds from the start of the audio"},
        }
    )
    properties: dict[str, Any] = {
        "schema_version": {"const": CHART_SCHEMA_VERSION},
        "title": {"type": "string"},
        "artist": {"type": "string"},
        "duration_s": {"type": "number", "exclusiveMinimum": 0},
        "bars": {"type": "array", "minItems": 1, "items": bar},
        "notes": {"type": "array", "items": note},
        "report": {"type": "object", "description": "what was done to get from what was heard to what is written"},
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"https://backbeat.invalid/schema/chart-{CHART_SCHEMA_VERSION}.json",
        "title": "Drum chart",
        **_object(properties),
    }


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}
