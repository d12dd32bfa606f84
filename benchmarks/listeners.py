"""What listeners of known taste get from each recommender, and whether the blend gets them more than the best alone.

`python benchmarks/listeners.py --cache FOLDER` renders tracks (three minutes on two cores), hears them with the genre
model that ships, simulates listeners (`backbeat.listening.simulator`), trains the towers and the blend as the pipeline
does, and asks every recommender once for each listener at the beginning of the test period, which nothing was chosen
or learnt on. It prints, in Markdown, NDCG@10, recall@10, novelty and coverage with 95 % intervals over listeners, also
for new tracks and new listeners, and the paired differences from popularity and from the best single recommender.
"who knows the taste" goes by the simulator's truth, without what is shown to whom: no recommender knows it.

`--listeners` gives several sizes of the crowd, `--worlds` other tastes: `heard` and `scene` leave one side of taste
out, so that one sees what comes of what. What is in FOLDER already is not made again.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import yaml
from numpy.typing import NDArray

from backbeat.analysis.analyzer import shipped_models
from backbeat.audio import decode
from backbeat.corpus.contract import Corpus, read_corpus
from backbeat.corpus.rendered.render import RenderedParams, render_corpus
from backbeat.dataset import read_labels
from backbeat.errors import BackbeatError
from backbeat.features import LogMel, log_mel
from backbeat.files import sha256_file, write_text
from backbeat.genre.classifier import GenreClassifier
from backbeat.listening.data import ItemSet, Listening, gather, read_items, write_items
from backbeat.listening.evaluation import evidence_before, held_of, judge
from backbeat.listening.history import DAY_S, History
from backbeat.listening.model import ListeningModel
from backbeat.listening.recommenders import SINGLE, make
from backbeat.listening.simulator import SimulatorParams, TasteParams, World
from backbeat.model import SPEC, WEIGHTS, space_of
from backbeat.settings import read_settings
from backbeat.statistics import bootstrap_interval, paired_bootstrap
from backbeat.tracking import Tracking
from backbeat.training import Places, TaskSettings, TrainerSettings, train
from pipelines.listeners import HeardTrack, TimeShares, embedded, label_lines, simulated

START_S, SHARES = 1_767_225_600.0, TimeShares(0.15, 0.15)
WORLDS = {"both": TasteParams(), "heard": TasteParams(scene=0.0), "scene": TasteParams(heard=0.0)}
TRUTH = "truth"
CONF = Path(__file__).resolve().parent.parent / "conf"


class Knowing:
    """Goes by the truth of a simulated world."""

    def __init__(self, world: World, day: float) -> None:
        self.world, self.day, self.user = world, day, 0

    def score(self, history: History) -> NDArray[np.float32]:
        """Return what the listener thinks of every item."""
        return self.world.utility(self.user, self.day)


def corpus_in(cache: Path, tracks: int, seconds: float, seed: int) -> Corpus:
    """Return a rendered corpus, made where it is not there."""
    root = cache / f"corpus-{tracks}x{seconds:g}-{seed}"
    if not root.is_dir():
        render_corpus(root, RenderedParams(tracks=tracks, duration_s=seconds, seed=seed), progress=False)
    return read_corpus(root)


def items_of(corpus: Corpus, folder: Path) -> ItemSet:
    """Return the tracks of a corpus as the shipped genre model hears them."""
    if folder.is_dir():
        return read_items(folder)
    model = shipped_models()["genre"]
    classifier = GenreClassifier.from_folder(model)
    params = classifier.spec.features
    front_end, paths = LogMel(params), {track.id: corpus.root / track.path for track in corpus.tracks}

    def spectrogram_of(track: HeardTrack) -> NDArray[np.float32]:
        return log_mel(decode(paths[track.id], sample_rate_hz=params.sample_rate_hz, mono=True).mono, front_end)

    tracks = [
        HeardTrack("rendered", track.id, track.genre, np.nan if track.tempo_bpm is None else track.tempo_bpm)
        for track in sorted(corpus.tracks, key=lambda track: track.id)
    ]
    found = embedded(tracks, spectrogram_of, classifier, space_of("genre", sha256_file(model / WEIGHTS)))
    write_items(folder, found)
    return found


def trained(
    items: ItemSet, params: SimulatorParams, folder: Path, seed: int
) -> tuple[Listening, World, ListeningModel]:
    """Simulate listeners and train as the stages of the pipeline do."""
    items, table, world = simulated(items, params, START_S)
    write_items(folder / "listening", items)
    write_text(folder / "labels/listening/simulated.jsonl", "".join(label_lines(table, SHARES)))
    # Labels name content by the audio list, which listeners have none of.
    write_text(folder / "labels/audio/simulated.jsonl", "")
    tracks = read_labels(folder / "labels", "listening")
    places = Places(
        labels=folder / "labels",
        features=folder / "features",
        stems=folder / "stems",
        listening=folder / "listening",
        output=folder / "model",
        checkpoints=folder / "checkpoints",
        curves=folder / "curves.csv",
        lock=folder / "dvc.lock",
    )
    if not (places.output / SPEC).is_file():
        task = yaml.safe_load((CONF / "task/listening.yaml").read_text(encoding="utf-8"))
        demo = yaml.safe_load((CONF / "experiment/demo.yaml").read_text(encoding="utf-8"))["listening"]
        task["optimisation"] |= demo["optimisation"]
        how = TrainerSettings(seed, "cpu", "1", "32-true", 1, False)
        train(read_settings(TaskSettings, task), how, Tracking("", "backbeat"), places, {})
    return gather(tracks, items), world, ListeningModel.from_folder(places.output)


def judged(listening: Listening, world: World, model: ListeningModel) -> tuple[pd.DataFrame, dict[str, float]]:
    """Ask everyone for every listener of the test period."""
    evidence = evidence_before(listening, "test", model.factors, model)
    recommenders: dict[str, Any] = {name: make(name, evidence) for name in (*SINGLE, "hybrid")}
    held = held_of(listening, "test")
    found = judge(listening, held, evidence, recommenders)
    begins, ends = listening.span("test")
    knowing = Knowing(world, ((begins + ends) / 2 - START_S) / DAY_S)
    rows = []
    for one in held:
        knowing.user = int(listening.users[one.user].partition("-")[2])
        rows.append(judge(listening, [one], evidence, {TRUTH: knowing}).listeners)
    return found.listeners.merge(pd.concat(rows), on=["user", "history", "joined", "held"]), found.coverage


def relative(better: NDArray[np.float64], base: NDArray[np.float64]) -> str:
    """Return by how many percent one mean lies above another, with its interval over listeners drawn in pairs."""
    found = bootstrap_interval(
        np.arange(base.size, dtype=np.float64),
        statistic=lambda rows: float(better[rows.astype(int)].mean() / base[rows.astype(int)].mean() - 1),
        method="percentile",
    )
    return f"{found.value:+.1%} [{found.low:+.1%}, {found.high:+.1%}]"


def lines_of(table: pd.DataFrame, coverage: dict[str, float]) -> Iterator[str]:
    """Yield a world's table, a row a recommender."""
    yield "| | NDCG@10 | recall@10 | new tracks: NDCG@10 | new listeners: NDCG@10 | novelty, bits | coverage |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    new = table[table["joined"]]
    for name in (*SINGLE, "hybrid", TRUTH):
        cells = [
            str(bootstrap_interval(rows[f"{name}_{measure}"]))
            for rows, measure in ((table, "ndcg_10"), (table, "recall_10"), (table, "new_ndcg_10"), (new, "ndcg_10"))
        ]
        cells += [f"{table[f'{name}_novelty'].mean():.1f}", f"{coverage[name]:.0%}" if name in coverage else ""]
        yield f"| {'who knows the taste' if name == TRUTH else name} | " + " | ".join(cells) + " |"
    yield ""
    for name in (*SINGLE[1:], "hybrid"):
        more = paired_bootstrap(table[f"{name}_ndcg_10"], table["popularity_ndcg_10"])
        yield f"- {name} less popularity, NDCG@10: {more}"
    for rows, measure, what in (
        (table, "ndcg_10", "NDCG@10"),
        (table, "recall_10", "recall@10"),
        (new, "ndcg_10", "NDCG@10 of new listeners"),
    ):
        best = max(SINGLE, key=lambda name: rows[f"{name}_{measure}"].mean())
        for base in dict.fromkeys((best, "collaborative")):
            gain = relative(rows[f"hybrid_{measure}"].to_numpy(), rows[f"{base}_{measure}"].to_numpy())
            yield f"- hybrid over {base}{', the best alone' if base == best else ''}, {what}: {gain}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, required=True, help="where tracks and models are kept for the next time")
    parser.add_argument("--tracks", type=int, default=1200)
    parser.add_argument("--seconds", type=float, default=12.0)
    parser.add_argument("--listeners", type=int, nargs="+", default=[SimulatorParams().listeners])
    parser.add_argument("--worlds", nargs="+", default=["both"], choices=tuple(WORLDS))
    parser.add_argument("--seed", type=int, default=8, help="of tracks; of listeners and training a seed made from it")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    try:
        corpus = corpus_in(given.cache, given.tracks, given.seconds, given.seed)
        items = items_of(corpus, given.cache / f"items-{given.tracks}x{given.seconds:g}-{given.seed}")
        for world_name in given.worlds:
            for listeners in given.listeners:
                params = replace(
                    SimulatorParams(), listeners=listeners, taste=WORLDS[world_name], seed=given.seed + 100
                )
                folder = given.cache / f"world-{world_name}-{listeners}-{given.tracks}-{given.seed}"
                listening, world, model = trained(items, params, folder, given.seed)
                table, coverage = judged(listening, world, model)
                density = len(np.unique(listening.events.users * len(items) + listening.events.items))
                density /= len(listening.users) * len(items)
                print(
                    f"\n### Taste: {world_name}; {listeners} listeners, {len(items)} tracks, {len(listening.events)}"
                    f" interactions, {density:.1%} of all pairs\n\n{len(table)} listeners judged,"
                    f" {int(table['joined'].sum())} of them new;"
                    f" {int(table['hybrid_new_ndcg_10'].notna().sum())} took to new tracks\n",
                    flush=True,
                )
                print("\n".join(lines_of(table, coverage)), flush=True)
    except BackbeatError as error:
        raise SystemExit(f"error: {error}") from None


if __name__ == "__main__":
    main()
