"""A prediction as a row: what went in, as numbers; what came out; by which models. Never the audio.

The service makes such rows of its requests and `reference` of the training corpora, with the same code, so that the two
can be compared.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from backbeat.music.drums import DRUMS

if TYPE_CHECKING:
    import pandas as pd

    from backbeat.analysis.analyzer import Judgement
    from backbeat.analysis.hearing import Heard
    from backbeat.analysis.result import ModelOrigin
    from backbeat.model import ModelSpec

#: An hour of them, at most tempi.
_MOST_BEATS = 10_000
Measure = float | str | bool | None


@dataclass(frozen=True, eq=False)
class Row:
    """What is kept of a prediction.

    Parameters
    ----------
    request_id, item
        The request, and the place of the file in it, from 0.
    route
        The endpoint: "/v1/analyze".
    sha256
        Of the file that was sent; empty where there was none.
    models
        By task, where the answer comes from: name, version, run, commit, data_hash, licence, source.
    measures
        Numbers, names and flags, as `row_of` gives them; what was not asked for is missing.
    answer
        "beats" (seconds) and "genre" as they were told, to hold corrections against.
    embedding
        Shape (length,), the genre network's summary of the track, or None.
    at
        Seconds since 1970.
    """

    request_id: str
    item: int
    route: str
    sha256: str
    models: Mapping[str, Mapping[str, Any]]
    measures: Mapping[str, Measure]
    answer: Mapping[str, Any] = field(default_factory=dict)
    embedding: NDArray[np.float32] | None = None
    at: float = field(default_factory=time.time)


def row_of(
    heard: Heard,
    judgement: Judgement,
    models: Mapping[str, Mapping[str, Any]],
    *,
    request_id: str = "",
    item: int = 0,
    route: str = "",
    sha256: str = "",
) -> Row:
    """Return the row of a prediction; `models` are told by `lineage_of`."""
    asked = judgement.fields.get("models", {})
    return Row(
        request_id=request_id,
        item=item,
        route=route,
        sha256=sha256,
        models={task: models[task] for task in asked},
        measures={**_input_measures(heard), **_output_measures(heard, judgement)},
        answer=_answer(judgement.fields),
        embedding=judgement.embedding,
    )


def lineage_of(
    origins: Mapping[str, ModelOrigin], specs: Mapping[str, ModelSpec], sources: Mapping[str, str]
) -> dict[str, dict[str, Any]]:
    """Return, by task, the way from a model back to its data, as a row keeps it."""
    return {
        task: {
            "name": origin.name,
            "version": origin.version,
            "run": origin.run,
            "data_hash": origin.data_hash,
            "commit": specs[task].commit or None,
            "licence": specs[task].licence,
            "source": sources[task],
        }
        for task, origin in origins.items()
    }


def _input_measures(heard: Heard) -> dict[str, Measure]:
    spectrogram = heard.spectrogram
    level = spectrogram.mean(axis=0)
    total = float(level.sum())
    return {
        "duration_s": heard.duration_s,
        "sample_rate_hz": heard.sample_rate_hz,
        "codec": heard.codec,
        "loudness_lufs": heard.loudness_lufs,
        # Of the mean log-mel spectrum: level, centre of gravity in bands, and spread over time.
        "level": total / level.size,
        "brightness_band": float(level @ np.arange(level.size)) / total if total else 0.0,
        "level_spread": float(spectrogram.mean(axis=1).std()),
        "key_confidence": heard.key.confidence if heard.key else None,
        "warnings": len(heard.warnings),
    }


def _output_measures(heard: Heard, judgement: Judgement) -> dict[str, Measure]:
    answer = judgement.fields
    row: dict[str, Measure] = {name: answer[name] for name in ("tempo_bpm", "time_signature") if name in answer}
    row["beat_confidence"] = judgement.beat_confidence
    for name in ("beats", "onsets", "drums"):
        if name in answer:
            row[f"{name}_per_s"] = len(answer[name]) / heard.duration_s
    if answer.get("onsets"):
        row["onset_strength"] = float(np.mean([onset["strength"] for onset in answer["onsets"]]))
    if "drums" in answer:
        for drum in DRUMS:
            row[f"drum_{drum}_per_s"] = sum(hit["drum"] == drum for hit in answer["drums"]) / heard.duration_s
    if "genre" in answer:
        genre = answer["genre"]
        row |= {"genre": genre["label"], "genre_unsure": genre["unsure"]}
        row["genre_probability"] = genre["probabilities"].get(genre["label"])
    return row


def _answer(fields: Mapping[str, Any]) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    if "beats" in fields:
        kept["beats"] = [round(beat["time_s"], 3) for beat in fields["beats"][:_MOST_BEATS]]
    if "genre" in fields:
        kept["genre"] = fields["genre"]["label"]
    return kept


def table_of(rows: Iterable[Row]) -> pd.DataFrame:
    """Return rows as a table: `at`, `request_id`, `route`, `sha256`, a column a measure, `embedding` (arrays, or None).

    Of each model that was asked there are `<task>_version` and `<task>_run`. Columns hold objects, so that None (asked
    for, and there is none) is not taken for NaN (not asked for).
    """
    import pandas as pd

    return pd.DataFrame(
        [
            {
                "at": row.at,
                "request_id": row.request_id,
                "item": row.item,
                "route": row.route,
                "sha256": row.sha256,
                **{f"{task}_version": lineage.get("version") for task, lineage in row.models.items()},
                **{f"{task}_run": lineage.get("run") for task, lineage in row.models.items()},
                **row.measures,
                "embedding": row.embedding,
            }
            for row in rows
        ],
        dtype=object,
    )
