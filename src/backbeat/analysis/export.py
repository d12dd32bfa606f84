"""An analysis in the forms that other programs read: JAMS, and tables of comma-separated values.

Tables come in two forms. The events of one track, a row each, in the order of time::

    time_s,event,label,value
    0.5012,beat,1,
    0.5020,onset,,0.93
    0.5020,drum,kick,0.81

where the label is the position in the bar (empty when not known) or the drum, and the value is the onset's strength
or the drum's velocity. And the summary of several tracks, a row each, with the columns of `SUMMARY_COLUMNS`.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from backbeat.analysis.result import Analysis
from backbeat.files import write_text

EVENT_COLUMNS: tuple[str, ...] = ("time_s", "event", "label", "value")
SUMMARY_COLUMNS: tuple[str, ...] = (
    "path",
    "duration_s",
    "sample_rate_hz",
    "tempo_bpm",
    "time_signature",
    "key",
    "key_confidence",
    "genre",
    "genre_probability",
    "loudness_lufs",
    "beats",
    "onsets",
    "drums",
    "error",
)


def write_events_csv(path: Path, analysis: Analysis) -> None:
    """Write the events of one track as a table, atomically."""
    rows: list[tuple[float, int, tuple[Any, ...]]] = []
    rows += [
        (beat.time_s, 0, (f"{beat.time_s:.4f}", "beat", "" if beat.position is None else beat.position, ""))
        for beat in analysis.beats
    ]
    rows += [
        (onset.time_s, 1, (f"{onset.time_s:.4f}", "onset", "", f"{onset.strength:g}")) for onset in analysis.onsets
    ]
    rows += [(hit.time_s, 2, (f"{hit.time_s:.4f}", "drum", hit.drum, f"{hit.velocity:g}")) for hit in analysis.drums]
    rows.sort(key=lambda row: row[:2])
    write_text(path, _table(EVENT_COLUMNS, (row for _, _, row in rows)))


def summary_row(analysis: Analysis) -> dict[str, Any]:
    """Return the row of a track in a summary."""
    key = analysis.key
    return {
        "path": analysis.path,
        "duration_s": analysis.duration_s,
        "sample_rate_hz": analysis.sample_rate_hz,
        "tempo_bpm": analysis.tempo_bpm,
        "time_signature": analysis.time_signature,
        "key": None if key is None else f"{key.tonic} {key.mode}",
        "key_confidence": None if key is None else key.confidence,
        "genre": analysis.genre.label,
        "genre_probability": analysis.genre.probabilities.get(analysis.genre.label),
        "loudness_lufs": analysis.loudness_lufs,
        "beats": len(analysis.beats),
        "onsets": len(analysis.onsets),
        "drums": len(analysis.drums),
    }


def write_summary_csv(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Write rows with the keys of `SUMMARY_COLUMNS` as a table, atomically; what is None or missing stays empty."""
    write_text(path, _table(SUMMARY_COLUMNS, ([row.get(name) for name in SUMMARY_COLUMNS] for row in rows)))


def _table(columns: Iterable[str], rows: Iterable[Iterable[Any]]) -> str:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(["" if value is None else value for value in row] for row in rows)
    return text.getvalue()


def to_jams(analysis: Analysis) -> Any:
    """Return the analysis as a `jams.JAMS` object.

    Beats are in the namespace `beat` (value: position in the bar), onsets in `onset` (confidence: strength), drum hits
    in `tag_open` (value: the drum; confidence: the velocity), the genre in `tag_open` (value: the label), tempo and
    key in `tempo` and `key_mode`. Each annotation's metadata names the model that gave it. What JAMS has no place for
    (loudness, time signature, the models, warnings) is in the sandbox of the file.
    """
    import jams

    jam = jams.JAMS()
    jam.file_metadata.duration = analysis.duration_s
    jam.file_metadata.title = Path(analysis.path).stem
    jam.file_metadata.identifiers = {"path": analysis.path}
    whole_s = analysis.duration_s

    def add(
        namespace: str, task: str | None, what: str, rows: Iterable[tuple[float, float, Any, float | None]]
    ) -> None:
        origin = analysis.models[task] if task is not None else None
        tool = "backbeat key" if origin is None else f"{origin.name} {origin.version}"
        metadata = jams.AnnotationMetadata(annotation_tools=tool, data_source="program", corpus="")
        annotation = jams.Annotation(namespace=namespace, annotation_metadata=metadata, time=0, duration=whole_s)
        annotation.sandbox.content = what
        for time_s, length_s, value, confidence in rows:
            annotation.append(time=time_s, duration=length_s, value=value, confidence=confidence)
        jam.annotations.append(annotation)

    add("beat", "beat", "beats", ((beat.time_s, 0.0, beat.position, None) for beat in analysis.beats))
    add("onset", "onset", "onsets", ((onset.time_s, 0.0, None, onset.strength) for onset in analysis.onsets))
    add("tag_open", "onset", "drums", ((hit.time_s, 0.0, hit.drum, hit.velocity) for hit in analysis.drums))
    label = analysis.genre.label
    add("tag_open", "genre", "genre", [(0.0, whole_s, label, analysis.genre.probabilities.get(label))])
    if analysis.tempo_bpm is not None:
        add("tempo", "beat", "tempo", [(0.0, whole_s, analysis.tempo_bpm, 1.0)])
    if analysis.key is not None:
        value = f"{analysis.key.tonic}:{analysis.key.mode}"
        add("key_mode", None, "key", [(0.0, whole_s, value, analysis.key.confidence)])
    jam.sandbox.update(
        loudness_lufs=analysis.loudness_lufs,
        time_signature=analysis.time_signature,
        genre_probabilities=dict(analysis.genre.probabilities),
        genre_unsure=analysis.genre.unsure,
        models={task: asdict(origin) for task, origin in analysis.models.items()},
        warnings=list(analysis.warnings),
    )
    return jam


def write_jams(path: Path, analysis: Analysis) -> None:
    """Write the analysis as a JAMS file, atomically."""
    write_text(path, to_jams(analysis).dumps(indent=2) + "\n")
