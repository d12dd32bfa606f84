"""The report: everything that the evaluation found, on one page that needs nothing beside it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from backbeat.errors import CorpusError
from backbeat.evaluation.measures import BY_STYLE, NARROW, limits, measure, style_name
from backbeat.evaluation.results import Results, read_results, read_tracks
from backbeat.evaluation.scoring import PRINCIPAL
from backbeat.evaluation.tables import TITLES
from backbeat.files import write_text
from backbeat.look import data_uri
from backbeat.pages import render as page
from backbeat.statistics import Interval

_SPLITS = ("train", "valid", "test")
#: Measures on the cards at the top, by task.
_CARD = {
    "beat": ("beat_f", "downbeat_f", "tempo_acc1"),
    "onset": ("onset_micro_f", "kick_micro_f", "snare_micro_f", "hihat_micro_f"),
    "genre": ("accuracy", "macro_f1", "calibration_error"),
    "pairing": ("found_1", "found_5", "reciprocal_rank"),
    "listening": ("ndcg_10", "recall_10"),
    "separation": ("sdr", "sdr_gain"),
}
#: Columns of the table of the worst tracks: first those in words, then numbers.
_WORST_WORDS = {
    "beat": ("id", "style"),
    "onset": ("id", "style"),
    "genre": ("id", "style", "answer"),
    "pairing": ("id", "style"),
    "listening": ("id",),
    "separation": ("id", "style"),
}
_WORST_NUMBERS = {
    "beat": {"beat_f": "beats F", "cmlt": "CMLt", "amlt": "AMLt", "downbeat_f": "downbeats F"},
    "onset": {
        "drums_f": "all drums F",
        "kick_f": "kick",
        "snare_f": "snare",
        "hihat_f": "hi-hat",
        "onset_f": "onsets F",
    },
    "genre": {"truth_probability": "probability of the truth"},
    "pairing": {"rank": "place of its beat", "reciprocal_rank": "one over it"},
    "listening": {"ndcg_10": "NDCG@10", "recall_10": "recall@10"},
    "separation": {"sdr": "SDR, dB", "sdr_gain": "gained, dB"},
}
_WORST_ROWS = 8
_NONE = "–"


def write_report(path: Path, folders: Sequence[Path], command: str, choosing: Path | None = None) -> None:
    """Write the page to `path` from the tasks' folders of results.

    Parameters
    ----------
    path
        The page.
    folders
        `reports/<task>` of each task, in the order in which to show them.
    command
        What made it, for its foot.
    choosing
        `reports/recommenders`, where ways to choose were held against each other; None where none were.

    Raises
    ------
    CorpusError
        If results are missing or damaged.
    """
    found = [(read_results(folder), read_tracks(folder), folder) for folder in folders]
    write_text(path, render(found, command, side_by_side(choosing) if choosing else []))


def side_by_side(folder: Path) -> list[dict[str, Any]]:
    """Return the tables of the stage `recommenders`: a title, heads and rows of texts each."""
    made = []
    for file, by, title in (
        ("beats.csv", ["question", "way"], "Which beat fits"),
        ("listeners.csv", ["recommender"], "What to hear next"),
    ):
        try:
            table = pd.read_csv(folder / file)
        except FileNotFoundError:
            raise CorpusError(f"{folder / file}: is missing; `dvc repro` makes it") from None
        measures = list(dict.fromkeys(table["measure"]))
        rows = []
        for names, group in table.groupby(by, sort=False):
            found = {
                row["measure"]: _cell(
                    row["measure"], Interval(row["value"], row["low"], row["high"], int(row["count"]))
                )
                for row in group.to_dict("records")
            }
            rows.append({"names": list(names), "cells": [found[name] for name in measures]})
        made.append({"title": title, "by": by, "heads": [measure(name).label for name in measures], "rows": rows})
    return made


def render(
    tasks: Sequence[tuple[Results, pd.DataFrame, Path]], command: str, choosing: Sequence[Mapping[str, Any]] = ()
) -> str:
    """Return the page as HTML: results, tracks and the folder of the pictures of each task, and `side_by_side`."""
    views = [_task(*task) for task in tasks]
    shown = dict.fromkeys(name for results, _, _ in tasks for name in results.groups["all"])
    return page(
        "backbeat.evaluation",
        "report.html",
        lead=_lead([results for results, _, _ in tasks]),
        tasks=views,
        choosing=choosing,
        corpora=_corpora([results for results, _, _ in tasks]),
        splits=_SPLITS,
        measures=[measure(name) for name in shown],
        command=command,
    )


def _lead(results: Sequence[Results]) -> str:
    results = [found for found in results if found.task != "listening"]
    names = {name for found in results for name in found.corpora}
    hours = sum(
        max(sum(found.corpora[name]["hours"].values()) for found in results if name in found.corpora) for name in names
    )
    tested = max(sum(facts["tracks"]["test"] for facts in found.corpora.values()) for found in results)
    models = "One model" if len(results) == 1 else f"{len(results)} models"
    return (
        f"{models}, {hours:.1f} hours of annotated music in "
        f"{'one corpus' if len(names) == 1 else f'{len(names)} corpora'}, "
        f"scored on {tested} tracks that no model was trained or chosen on."
    )


def _task(results: Results, tracks: pd.DataFrame, folder: Path) -> dict[str, Any]:
    """Gather what the template shows of one task."""
    task, whole = results.task, results.groups["all"]
    counts = {split: sum(facts["tracks"][split] for facts in results.corpora.values()) for split in _SPLITS}
    words, numbers = _WORST_WORDS[task], _WORST_NUMBERS[task]
    pictures = [
        {"uri": data_uri(folder / picture.file), "caption": picture.caption, "kind": picture.kind}
        for picture in results.pictures
    ]
    by_style = [name for name in NARROW[task] if any(name in values for values in results.groups.values())]
    by_style = [name for name in by_style if task != "genre" or name in BY_STYLE[task]]
    return {
        "name": task,
        "title": TITLES[task],
        "confidence": f"{results.confidence:.0%}",
        "headline": [_score(name, whole[name]) for name in _CARD[task] if name in whole],
        "scores": [_score(name, found) for name, found in whole.items()],
        "trained": _trained(results, counts),
        "charts": [picture for picture in pictures if picture["kind"] != "track"],
        "tracks": [picture for picture in pictures if picture["kind"] == "track"],
        "style_labels": [measure(name).short.replace("-\n", "").replace("\n", " ") for name in by_style],
        "styles": [
            {
                "name": style_name(style),
                "count": max(found.count for found in values.values()),
                "cells": [_cell(name, values.get(name)) for name in by_style],
            }
            for style, values in results.groups.items()
            if style != "all"
        ],
        "worst_title": "The tracks that went worst" if task != "genre" else "The tracks that it was least right about",
        "worst_words": len(words),
        "worst_labels": ["track", *words[1:], *numbers.values()],
        "worst": _worst(tracks, task, words, list(numbers)),
        "model": f"{results.model['name']} {results.model['version']}",
        "run": results.thread["run"] or "not tracked",
        "commit": results.thread["commit"] or "not recorded",
        "data": [part for part in str(results.model["data_hash"]).split(",") if part] or ["not recorded"],
    }


def _trained(results: Results, counts: Mapping[str, int]) -> str:
    if results.task == "listening":
        did = sum(facts["interactions"] for facts in results.corpora.values())
        return (
            f"Learnt from {did:,} interactions of {' and '.join(results.corpora)} listeners; scored on what "
            f"{results.groups['all']['ndcg_10'].count} of them took to in the last part of the time."
        )
    told = (
        f"Trained on {counts['train']} tracks of {' and '.join(results.corpora)}, chosen on {counts['valid']}, "
        f"scored here on {counts['test']}."
    )
    if results.task in ("beat", "pairing", "listening"):
        return told
    model = results.model
    classes = model["network"]["instruments"] if results.task == "separation" else model["classes"]
    return f"{told} It tells apart: {', '.join(style_name(str(name)) for name in classes)}."


def _score(name: str, found: Interval | None) -> dict[str, Any]:
    """Write one score: as text, and as places on a scale from 0 to 100."""
    label, decibels = measure(name).label, measure(name).decibels
    if found is None or math.isnan(found.value):
        return {"label": label, "value": _NONE, "limits": "", "count": 0, "left": None, "width": None, "place": 0}
    known = not math.isnan(found.low)
    written = measure(name).written
    return {
        "label": label,
        "value": written(found.value),
        "limits": f"{written(found.low)} – {written(found.high)}" if known else "",
        "count": found.count,
        "left": round(100 * found.low, 1) if known and not decibels else None,
        "width": round(100 * (found.high - found.low), 1) if known and not decibels else None,
        # Decibels have no end to put on a scale.
        "place": None if decibels else round(100 * found.value, 1),
    }


def _cell(name: str, found: Interval | None) -> dict[str, str]:
    if found is None or math.isnan(found.value):
        return {"value": _NONE, "limits": ""}
    return {"value": measure(name).written(found.value), "limits": limits(found, measure(name).decibels)}


def _worst(tracks: pd.DataFrame, task: str, words: Sequence[str], numbers: Sequence[str]) -> list[list[str]]:
    ordered = tracks.dropna(subset=[PRINCIPAL[task]]).sort_values([PRINCIPAL[task], "id"], kind="stable")
    rows = []
    for row in ordered.head(_WORST_ROWS).to_dict("records"):
        texts = [f"{row['corpus']}/{row['id']}", *(style_name(str(row[name])) for name in words[1:])]
        values = {name: float(row[name]) for name in numbers}
        rows.append(texts + [_NONE if math.isnan(x) else measure(name).written(x) for name, x in values.items()])
    return rows


def _corpora(results: Sequence[Results]) -> list[dict[str, Any]]:
    """Gather what the tasks know of each corpus: for each split the most that any task reads."""
    gathered = []
    results = [found for found in results if found.task != "listening"]
    for name in sorted({name for found in results for name in found.corpora}):
        facts = [found.corpora[name] for found in results if name in found.corpora]
        widest = max(facts, key=lambda one: sum(one["tracks"].values()))
        styles = [_split_row(style_name(style), counts, "{:d}") for style, counts in widest["styles"].items()]
        meters: dict[str, int] = next((one["meters"] for one in facts if "meters" in one), {})
        hits: dict[str, int] = next((one["hits"] for one in facts if "hits" in one), {})
        gathered.append(
            {
                "name": name,
                "rows": [
                    _split_row("tracks", widest["tracks"], "{:d}"),
                    _split_row("hours", widest["hours"], "{:.2f}"),
                    *styles,
                ],
                "meters": ", ".join(f"{meter} {count:,}" for meter, count in meters.items()),
                "hits": ", ".join(f"{event.replace('_', ' ')} {count:,}" for event, count in hits.items()),
            }
        )
    return gathered


def _split_row(name: str, values: Mapping[str, float], form: str) -> dict[str, Any]:
    numbers = [values[split] for split in _SPLITS]
    return {"name": name, "cells": [form.format(number) for number in (*numbers, sum(numbers))]}
