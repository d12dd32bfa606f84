"""What training listens to: the items as they sound, what listeners did, and batches of both.

Layout, as the stage `listeners` writes it::

    data/listening/items.csv        a line an item: id, label, artist, tempo_bpm, energy, added_at
    data/listening/vectors.npy      float32, (items, values), in the order of the lines
    data/listening/space.json       {"space": "genre:1a2b...", "features": {...}}: whose embeddings they are
    data/listening/interactions.csv user, item, kind, at: what `backbeat catalogue` can take in
    data/labels/listening/<name>.jsonl   a line a listener and split, `events` of [item, at, weight]
"""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset

from backbeat.dataset import LabelledTrack
from backbeat.errors import CorpusError
from backbeat.features import FeatureParams
from backbeat.files import atomic_path
from backbeat.learning import Batch
from backbeat.listening.history import Events, History
from backbeat.listening.towers import EVENT_VALUES, event_values

ITEMS, VECTORS, SPACE = "items.csv", "vectors.npy", "space.json"
SPLITS = ("train", "valid", "test")


@dataclass(frozen=True, eq=False)
class ItemSet:
    """The items of a data set, in the order of their ids.

    Parameters
    ----------
    ids, labels, artists
        Texts.
    tempo_bpm, energy
        NaN where it is not known.
    added_at
        Seconds since 1970; 0 for what was always there.
    vectors
        Embeddings, shape (items, values), float32.
    space
        Whose embeddings: "NAME:HASH" of the model.
    features
        The front end of that model.
    """

    ids: tuple[str, ...]
    labels: tuple[str, ...]
    artists: tuple[str, ...]
    tempo_bpm: NDArray[np.float64]
    energy: NDArray[np.float64]
    added_at: NDArray[np.float64]
    vectors: NDArray[np.float32]
    space: str
    features: FeatureParams

    def __len__(self) -> int:
        return len(self.ids)


_COLUMNS = ("id", "label", "artist", "tempo_bpm", "energy", "added_at")


def write_items(folder: Path, items: ItemSet) -> None:
    """Write a data set's items, atomically; what was in the folder is replaced."""
    columns = (items.ids, items.labels, items.artists, items.tempo_bpm, items.energy, items.added_at)
    with atomic_path(folder) as temporary:
        temporary.mkdir()
        with (temporary / ITEMS).open("w", encoding="utf-8", newline="") as stream:
            writer = csv.writer(stream, lineterminator="\n")
            writer.writerow(_COLUMNS)
            writer.writerows(zip(*columns, strict=True))
        np.save(temporary / VECTORS, items.vectors)
        told = {"space": items.space, "features": asdict(items.features)}
        (temporary / SPACE).write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")


def read_items(folder: Path) -> ItemSet:
    """Read what `write_items` wrote; CorpusError where it is missing or damaged."""
    try:
        with (folder / ITEMS).open(encoding="utf-8", newline="") as stream:
            rows = list(csv.DictReader(stream))
        vectors = np.load(folder / VECTORS, allow_pickle=False).astype(np.float32)
        told = json.loads((folder / SPACE).read_text(encoding="utf-8"))

        def numbers(name: str) -> NDArray[np.float64]:
            return np.array([float(row[name]) for row in rows])

        found = ItemSet(
            tuple(row["id"] for row in rows),
            tuple(row["label"] for row in rows),
            tuple(row["artist"] for row in rows),
            numbers("tempo_bpm"),
            numbers("energy"),
            numbers("added_at"),
            vectors,
            str(told["space"]),
            FeatureParams(**told["features"]),
        )
    except FileNotFoundError as error:
        raise CorpusError(f"{error.filename}: is missing; `dvc repro` makes it") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CorpusError(f"{folder}: is damaged: {error}; `dvc repro` makes it again") from None
    if vectors.ndim != 2 or len(vectors) != len(found):
        raise CorpusError(f"{folder}: has {len(found)} items and {len(vectors)} vectors; `dvc repro` makes it again")
    return found


@dataclass(frozen=True, eq=False)
class Listening:
    """A data set: items, all that listeners did, and where its splits begin.

    Parameters
    ----------
    items
        See there.
    users
        Their names; rows of `events` are places among them.
    events
        Of all splits.
    begins
        When each split begins, seconds since 1970.
    ends
        After the last event.
    """

    items: ItemSet
    users: tuple[str, ...]
    events: Events
    begins: dict[str, float]
    ends: float

    def span(self, split: str) -> tuple[float, float]:
        """Return when a split begins and ends."""
        later = [self.begins[name] for name in SPLITS[SPLITS.index(split) + 1 :]]
        return self.begins[split], min([*later, self.ends])


def gather(tracks: Sequence[LabelledTrack], items: ItemSet) -> Listening:
    """Gather the label lines of all splits; events of items that are not there are left out.

    Raises
    ------
    CorpusError
        If a split is empty, or does not lie after the one before.
    """
    rows = {name: row for row, name in enumerate(items.ids)}
    users = tuple(sorted({track.id for track in tracks}))
    place = {name: row for row, name in enumerate(users)}
    told: list[tuple[int, int, float, float]] = []
    times: dict[str, list[float]] = {split: [] for split in SPLITS}
    for track in tracks:
        for item, at, weight in track.values["events"]:
            times[track.split].append(at)
            if item in rows:
                told.append((place[track.id], rows[item], at, weight))
    for split in SPLITS:
        if not times[split]:
            raise CorpusError(f"no interactions in the {split} split: give interactions of a longer time")
    for before, after in pairwise(SPLITS):
        if max(times[before]) >= min(times[after]):
            raise CorpusError(f"interactions of the {after} split must all lie after those of the {before} split")
    begins = {split: min(times[split]) for split in SPLITS}
    owners, heard, at, weights = zip(*told, strict=True) if told else ((), (), (), ())
    events = Events.of(owners, heard, at, weights)
    return Listening(items, users, events, begins, max(times["test"]) + 1.0)


@dataclass(frozen=True, eq=False)
class Step:
    """One thing a listener heard for the first time and did not dislike: an example to learn from.

    Parameters
    ----------
    user, item
        Rows.
    history
        What came before.
    """

    user: int
    item: int
    history: History


def first_hearings(events: Events, begins: float, ends: float, most: int, rng: np.random.Generator) -> list[Step]:
    """Return what listeners took to between two moments, `most` examples of each, drawn by `rng`.

    Listeners of whom nothing was known before, and items that they had heard, give none.
    """
    steps = []
    for user, own in sorted(events.by_user().items()):
        _, firsts = np.unique(own.items, return_index=True)
        fresh = np.sort(firsts)
        fresh = fresh[(own.weights[fresh] > 0) & (own.at[fresh] >= begins) & (own.at[fresh] < ends)]
        liked = np.flatnonzero(own.weights > 0)
        fresh = fresh[fresh > liked[0]] if liked.size else fresh[:0]
        if fresh.size > most:
            fresh = np.sort(rng.choice(fresh, most, replace=False))
        for row in fresh.tolist():
            past = slice(0, row)
            steps.append(
                Step(
                    user,
                    int(own.items[row]),
                    History(own.items[past], own.at[past], own.weights[past], float(own.at[row])),
                )
            )
    return steps


class _Batches(Dataset):
    """Batches of examples, padded when asked for."""

    def __init__(self, data: ListeningData, steps: Sequence[Step], frequency: NDArray[np.float32]) -> None:
        size = data.batch_size
        self.data, self.frequency = data, frequency
        self.batches = [steps[first : first + size] for first in range(0, len(steps), size)]

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, number: int) -> Batch:
        steps = self.batches[number]
        told = [event_values(step.history, self.data.history) for step in steps]
        longest = max(items.size for items, _ in told)
        histories = np.zeros((len(steps), longest), dtype=np.int64)
        events = np.zeros((len(steps), longest, EVENT_VALUES), dtype=np.float32)
        there = np.zeros((len(steps), longest), dtype=bool)
        for row, (items, values) in enumerate(told):
            histories[row, : items.size], events[row, : items.size] = items, values
            there[row, : items.size] = True
        targets, users = (np.array([getattr(step, name) for step in steps]) for name in ("item", "user"))
        # An item of the batch says nothing against who heard it before or after.
        spared = self.data.heard(users[:, None], targets[None])
        spared[np.arange(targets.size), np.arange(targets.size)] = False
        # Each item goes through its tower once, in however many histories it is.
        items, places = np.unique(np.concatenate([targets, histories.ravel()]), return_inverse=True)
        batch = {
            # First, since its length is that of the batch.
            "targets": places[: targets.size],
            "vectors": self.data.listening.items.vectors[items],
            "histories": places[targets.size :].reshape(histories.shape),
            "log_frequency": self.frequency[targets],
            "events": events,
            "there": there,
            "spared": spared,
        }
        return {name: torch.from_numpy(values) for name, values in batch.items()}


class ListeningData(pl.LightningDataModule):
    """Examples of the train and valid splits, drawn anew and shuffled each epoch.

    Parameters
    ----------
    listening
        The data set.
    history
        The latest so many events of a listener are shown.
    examples
        So many of each listener in an epoch.
    batch_size
        Examples a step; the items of one are what each is told from.
    seed
        Of what is drawn.
    """

    def __init__(self, listening: Listening, history: int, examples: int, batch_size: int, seed: int) -> None:
        super().__init__()
        self.listening, self.history, self.examples, self.seed = listening, history, examples, seed
        self.batch_size = batch_size
        known = listening.events.before(listening.begins["valid"])
        counts = np.bincount(known.items, minlength=len(listening.items))
        # One more each, so that none is impossible.
        self.frequency = np.log((counts + 1) / (counts + 1).sum()).astype(np.float32)
        # What came later is not there to be known: to spare it would be to tell of it.
        self._heard = np.unique(known.users * len(listening.items) + known.items)

    def heard(self, users: NDArray[np.int64], items: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return whether listeners had heard items when training ends, of arrays that broadcast to one shape."""
        pairs = users * len(self.listening.items) + items
        places = np.minimum(np.searchsorted(self._heard, pairs), self._heard.size - 1)
        return np.asarray(self._heard[places] == pairs)

    def _steps(self, split: str, epoch: int) -> list[Step]:
        rng = np.random.default_rng(np.random.SeedSequence([self.seed, SPLITS.index(split), epoch]))
        steps = first_hearings(self.listening.events, *self.listening.span(split), self.examples, rng)
        if len(steps) < 2:
            raise CorpusError(f"the {split} split has too few listeners who heard something new; take more of them")
        return [steps[place] for place in rng.permutation(len(steps))]

    def train_dataloader(self) -> DataLoader[Any]:
        """Return the examples of one epoch."""
        epoch = 0 if self.trainer is None else self.trainer.current_epoch
        return DataLoader(_Batches(self, self._steps("train", epoch), self.frequency), batch_size=None)

    def val_dataloader(self) -> DataLoader[Any]:
        """Return the same examples each time."""
        return DataLoader(_Batches(self, self._steps("valid", 0), self.frequency), batch_size=None)
