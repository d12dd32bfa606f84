"""Making the reference: tracks of corpora, heard and judged by exactly what the service runs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.progress import track

from backbeat.analysis.hearing import hear
from backbeat.analysis.result import Analysis
from backbeat.errors import AudioError, ConfigError, CorpusError
from backbeat.monitoring.rows import lineage_of, row_of, table_of

if TYPE_CHECKING:
    import pandas as pd

    from backbeat.analysis.analyzer import Analyzer
    from backbeat.corpus.contract import Corpus
    from backbeat.features import LogMel
    from backbeat.music import Beats

#: Splits of which no track was trained on.
HELD_OUT = frozenset({"valid", "test"})


@dataclass(frozen=True)
class ReferenceSettings:
    """How many tracks make the reference.

    Parameters
    ----------
    held_out
        At most so many tracks of the valid and test splits, which the models judge.
    trained
        At most so many of the train split, which are heard and not judged: what comes in is compared with them too.
    seed
        Of the draw.
    workers
        Processes.

    Raises
    ------
    ConfigError
        If no track would be judged, or nobody worked.
    """

    held_out: int
    trained: int
    seed: int
    workers: int

    def __post_init__(self) -> None:
        if self.held_out < 1 or self.trained < 0 or self.workers < 1:
            raise ConfigError("reference: held_out and workers must be 1 or more, trained 0 or more")


@dataclass(frozen=True, eq=False)
class Wanted:
    """A track to be measured: where it comes from, its audio, whether models are asked, and what is known of it."""

    corpus: str
    id: str
    split: str
    path: Path
    sha256: str
    judged: bool
    genre: str = ""
    beats: Beats | None = None


def choose(corpora: Sequence[Corpus], settings: ReferenceSettings) -> list[Wanted]:
    """Draw tracks, of each corpus and genre the part that it has of all.

    Raises
    ------
    CorpusError
        If no corpus has a track that was held out.
    """
    everything = [(corpus, found) for corpus in corpora for found in corpus.tracks]
    random = np.random.default_rng(settings.seed)
    chosen: list[tuple[Corpus, Any]] = []
    for judged, most in ((True, settings.held_out), (False, settings.trained)):
        pool = [item for item in everything if (item[1].split in HELD_OUT) == judged]
        if judged and not pool:
            raise CorpusError("no corpus has tracks in its valid or test split; a reference needs some")
        chosen += [pool[place] for place in _stratified([(c.name, t.genre) for c, t in pool], most, random)]
    return [
        Wanted(
            corpus.name,
            found.id,
            found.split,
            corpus.audio_path(found),
            found.sha256,
            found.split in HELD_OUT,
            found.genre,
            corpus.beats(found) if found.split in HELD_OUT else None,
        )
        for corpus, found in chosen
    ]


def measure(wanted: Sequence[Wanted], models: Mapping[str, Path], workers: int) -> Iterator[dict[str, Any]]:
    """Give the row of each track, as a dictionary, in their order; files that cannot be heard are left out.

    Parameters
    ----------
    models
        Folders by task, as `Analyzer.load` takes them.
    workers
        Processes; 1 for none but this one.
    """
    jobs = [(item, tuple(sorted(models.items()))) for item in wanted]
    if workers == 1:
        found = map(_measured, jobs)
        yield from (row for row in track(found, "reference", total=len(jobs)) if row is not None)
        return
    # Threads of torch do not outlive a fork.
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_one_thread) as pool:
        results = pool.map(_measured, jobs, chunksize=4)
        yield from (row for row in track(results, "reference", total=len(jobs)) if row is not None)


def table_from(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Return what `measure` gave as the table of a `Reference`."""
    import pandas as pd

    table = pd.DataFrame(list(rows), dtype=object)
    for name in ("genre_right", "beat_f"):
        table[name] = table[name].astype(np.float64)
    return table


def _stratified(strata: Sequence[tuple[str, str]], most: int, random: np.random.Generator) -> list[int]:
    """Draw at most `most` places, of each stratum its part (largest remainders); in rising order."""
    if len(strata) <= most:
        return list(range(len(strata)))
    names = sorted(set(strata))
    members = {name: [place for place, other in enumerate(strata) if other == name] for name in names}
    exact = {name: most * len(members[name]) / len(strata) for name in names}
    counts = {name: math.floor(exact[name]) for name in names}
    for name in sorted(names, key=lambda name: counts[name] - exact[name])[: most - sum(counts.values())]:
        counts[name] += 1
    return sorted(int(place) for name in names for place in random.permutation(members[name])[: counts[name]])


def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)


@lru_cache(maxsize=1)
def _ears(models: tuple[tuple[str, Path], ...]) -> tuple[Analyzer, LogMel]:
    from backbeat.analysis.analyzer import Analyzer
    from backbeat.features import LogMel

    analyzer = Analyzer.load(dict(models))
    return analyzer, LogMel(analyzer.specs["beat"].features)


def _measured(job: tuple[Wanted, tuple[tuple[str, Path], ...]]) -> dict[str, Any] | None:
    """Return the row of a track, or None where it cannot be heard, as the service would have answered with an error."""
    wanted, models = job
    analyzer, front_end = _ears(models)
    try:
        heard = hear(wanted.path, front_end)
    except AudioError:
        return None
    fields = tuple(Analysis.__dataclass_fields__) if wanted.judged else ("duration_s",)
    judgement = analyzer.judge_fields(heard, fields)
    lineages = lineage_of(analyzer.models, analyzer.specs, dict.fromkeys(analyzer.specs, "reference"))
    row = row_of(heard, judgement, lineages, sha256=wanted.sha256)
    (values,) = table_of([row]).to_dict("records")
    kept = {str(name): value for name, value in values.items() if name in row.measures or name == "embedding"}
    if not wanted.judged:
        kept["beat_confidence"] = math.nan
    return {
        **{name: getattr(wanted, name) for name in ("corpus", "id", "split", "judged", "sha256")},
        **kept,
        **_truth(wanted, judgement.fields, analyzer.specs["genre"].classes),
    }


def _truth(wanted: Wanted, answer: Mapping[str, Any], classes: Sequence[str]) -> dict[str, Any]:
    """Return how right the answer is; NaN where that is not known."""
    truth: dict[str, Any] = {"genre_truth": wanted.genre, "genre_right": math.nan, "beat_f": math.nan}
    if wanted.judged and wanted.genre in classes:
        truth["genre_right"] = float(answer["genre"]["label"] == wanted.genre)
    if wanted.judged and wanted.beats is not None:
        from backbeat.monitoring.performance import beat_f

        truth["beat_f"] = beat_f(wanted.beats, [beat["time_s"] for beat in answer["beats"]])
    return truth
