"""Stage `listeners`: what listeners did with the corpora's tracks, and how these sound to the genre model.

The listeners are simulated, or a file of one's own says what real ones did (`listeners.source`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from omegaconf import DictConfig

from backbeat.dataset import FeatureStore, read_lines
from backbeat.errors import ConfigError, CorpusError
from backbeat.files import sha256_file, write_text
from backbeat.genre.classifier import GenreClassifier
from backbeat.listening.data import SPLITS, ItemSet, read_items, write_items
from backbeat.listening.simulator import SimulatorParams, Sounds, World, build_world
from backbeat.model import WEIGHTS, space_of
from backbeat.recommend.interactions import (
    EXPORTED,
    InteractionTable,
    interaction_table,
    read_interactions,
    write_interactions,
)
from pipelines.settings import read, stage

DAY_S = 86400.0


@dataclass(frozen=True)
class TimeShares:
    """The last parts of the time that are held from training; ConfigError where nothing is left."""

    valid: float
    test: float

    def __post_init__(self) -> None:
        if not (min(self.valid, self.test) > 0 and self.valid + self.test < 1):
            raise ConfigError("listeners.shares: valid and test must be above 0 and together below 1")


@dataclass(frozen=True)
class ListenersSettings:
    """What the stage makes; conf/listeners/default.yaml says what each means."""

    name: str
    source: str
    shares: TimeShares
    start_s: float
    simulator: SimulatorParams


@dataclass(frozen=True)
class HeardTrack:
    """A track of the corpora: what it is called, and what its labels tell."""

    corpus: str
    id: str
    label: str
    tempo_bpm: float


def heard_tracks(labels: Path) -> list[HeardTrack]:
    """Return the tracks of all corpora but those of pairs, which are parts of songs; CorpusError where none is."""
    found = []
    for path in sorted((labels / "audio").glob("*.jsonl")):
        pairs = labels / "pairing" / path.name
        if pairs.is_file() and read_lines(pairs):
            continue
        genres = {line["id"]: str(line["genre"]) for line in _lines(labels / "genre" / path.name)}
        tempi = {line["id"]: _tempo_bpm(line["times_s"]) for line in _lines(labels / "beat" / path.name)}
        for line in read_lines(path):
            name = str(line["id"])
            found.append(HeardTrack(path.stem, name, genres.get(name, ""), tempi.get(name, float("nan"))))
    if not found:
        raise CorpusError(f"{labels / 'audio'}: no corpus has tracks; `dvc repro` makes them")
    return sorted(found, key=lambda track: (track.corpus, track.id))


def _lines(path: Path) -> list[dict[str, object]]:
    return read_lines(path) if path.is_file() else []


def _tempo_bpm(times_s: object) -> float:
    gaps_s = np.diff(np.asarray(times_s, dtype=np.float64))
    return 60 / float(np.median(gaps_s)) if gaps_s.size else float("nan")


def embedded(
    tracks: Sequence[HeardTrack],
    spectrogram_of: Callable[[HeardTrack], NDArray[np.float32]],
    classifier: GenreClassifier,
    space: str,
) -> ItemSet:
    """Hear every track: its embedding, and its mean level as its energy."""
    vectors, levels = [], []
    for track in tracks:
        spectrogram = spectrogram_of(track)
        vectors.append(classifier.embed(spectrogram))
        levels.append(float(spectrogram.mean()))
    return ItemSet(
        ids=tuple(f"{track.corpus}.{track.id}" for track in tracks),
        labels=tuple(track.label for track in tracks),
        artists=("",) * len(tracks),
        tempo_bpm=np.array([track.tempo_bpm for track in tracks]),
        energy=np.round(levels, 6),
        added_at=np.zeros(len(tracks)),
        vectors=np.stack(vectors).astype(np.float32),
        space=space,
        features=classifier.spec.features,
    )


def simulated(items: ItemSet, params: SimulatorParams, start_s: float) -> tuple[ItemSet, InteractionTable, World]:
    """Let simulated listeners listen to items; give these with artists and dates, what was done, and the truth."""
    from dataclasses import replace

    from backbeat.listening.sessions import simulate

    sounds = Sounds(items.vectors, np.array(items.labels), items.tempo_bpm, items.energy)
    world = build_world(sounds, params)
    plays = simulate(sounds, world, params, start_s)
    names = [f"listener-{number:05d}" for number in range(params.listeners)]
    rows = zip(plays.users.tolist(), plays.items.tolist(), plays.kinds.tolist(), plays.at.tolist(), strict=True)
    table = interaction_table([(names[user], items.ids[item], kind, at) for user, item, kind, at in rows])
    artists = tuple(f"Artist {number:03d}" for number in world.artists.tolist())
    out_s = np.where(world.out_day > 0, np.round(start_s + world.out_day * DAY_S, 3), 0.0)
    return replace(items, artists=artists, added_at=out_s), table, world


def recorded(path: Path) -> InteractionTable:
    """Read a file of one's own."""
    return interaction_table([(one.user, one.item, one.kind, one.at) for one in read_interactions(path)])


def split_of(at: NDArray[np.float64], shares: TimeShares) -> NDArray[np.int64]:
    """Return the place in `SPLITS` of interactions at times `at`, in order: by equal parts of the time they span.

    Raises
    ------
    CorpusError
        If there are none.
    """
    if not at.size:
        raise CorpusError("there are no interactions; name a file that has some as listeners.source")
    first, length = float(at[0]), float(at[-1] - at[0])
    begins = [first + length * (1 - shares.valid - shares.test), first + length * (1 - shares.test)]
    return np.searchsorted(np.array(begins), at, side="right").astype(np.int64)


def label_lines(table: InteractionTable, shares: TimeShares) -> Iterator[str]:
    """Yield a line a listener and split."""
    splits = split_of(table.at, shares)
    gathered: dict[tuple[str, int], list[tuple[str, float, float]]] = {}
    columns = (table.users, splits, table.items, table.at, table.weight)
    for user, split, item, at, weight in zip(*(column.tolist() for column in columns), strict=True):
        gathered.setdefault((user, split), []).append((item, at, weight))
    for (user, split), events in sorted(gathered.items()):
        line = {"id": user, "split": SPLITS[split], "genre": "", "licence": "", "events": events}
        yield json.dumps(line, separators=(",", ":")) + "\n"


def gathered(
    settings: ListenersSettings, labels: Path, features: Path, model: Path
) -> tuple[ItemSet, InteractionTable]:
    """Return the items and what was done with them, from where the settings say."""
    source = Path(settings.source)
    if settings.source and source.is_dir():
        return read_items(source), recorded(source / EXPORTED)
    classifier = GenreClassifier.from_folder(model)
    space = space_of("genre", sha256_file(model / WEIGHTS))
    store = FeatureStore(features)

    def spectrogram_of(track: HeardTrack) -> NDArray[np.float32]:
        return store.get(track.corpus, track.id).astype(np.float32)

    items = embedded(heard_tracks(labels), spectrogram_of, classifier, space)
    if settings.source:
        return items, recorded(source)
    items, table, _ = simulated(items, settings.simulator, settings.start_s)
    return items, table


@stage
def main(config: DictConfig) -> None:
    settings, paths = read(ListenersSettings, config.listeners), config.paths
    labels = Path(paths.labels)
    items, table = gathered(settings, labels, Path(paths.features), Path(paths.models) / "genre")
    # Beside the labels of other tasks; what is in the folder of another name is another data set.
    write_text(labels / "listening" / f"{settings.name}.jsonl", "".join(label_lines(table, settings.shares)))
    folder = Path(paths.listening)
    write_items(folder, items)
    write_interactions(folder / EXPORTED, table)
    print(f"{folder}: {len(items)} tracks, {len(table)} interactions of {np.unique(table.users).size} listeners")


if __name__ == "__main__":
    main()
