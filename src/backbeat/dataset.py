"""What training reads: spectrograms in one memory-mapped array a corpus, labels in one file a task and corpus.

Layout, as the pipeline writes it::

    data/labels/audio/<corpus>.jsonl    what to make spectrograms of: id, path, sha256
    data/labels/<task>/<corpus>.jsonl   a line a track annotated for the task: id, split, genre, licence, and
                                        for beat: times_s, positions; for onset: times_s, classes, velocities;
                                        for separation: path and sha256 of each stem;
                                        for pairing, a line a take: its beat's id, and the beat's parts
    data/features/<corpus>/features.f16 float16, (frames of all tracks, mel_bands), without a header
    data/features/<corpus>/index.json   parameters, and first frame and length of each track

Labels are split by task so that changing a beat annotation makes only the beat model train again; the audio list names
content by hash, so that changing an annotation makes no spectrogram again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backbeat.corpus.contract import Corpus
from backbeat.errors import CorpusError
from backbeat.features import FeatureParams
from backbeat.files import atomic_path, sha256_file, write_json, write_text
from backbeat.music import Beats, Onsets

#: What the networks that hear spectrograms are for, which `analyze` runs on a track.
TASKS: tuple[str, ...] = ("beat", "onset", "genre")
#: What the registry keeps, the gate decides on and retraining trains again.
REGISTERED_TASKS: tuple[str, ...] = (*TASKS, "pairing", "listening")
#: What the pipeline can train.
PIPELINE_TASKS: tuple[str, ...] = (*REGISTERED_TASKS, "separation")
#: What corpora have labels for; those of listening come from listeners.
LABELLED_TASKS: tuple[str, ...] = (*TASKS, "separation", "pairing")
ARRAY = "features.f16"
#: What labels are made of that are no annotations of a track.
_WANTED = {
    "separation": "stems, which separation learns from",
    "pairing": "pairs of a take and its beat, which pairing learns from",
    "listening": "interactions of listeners",
}
INDEX = "index.json"


@dataclass(frozen=True)
class LabelledTrack:
    """A track as one task sees it: which spectrogram, which split, and the task's own values."""

    corpus: str
    id: str
    split: str
    genre: str
    licence: str
    values: Mapping[str, Any]

    def beats(self) -> Beats:
        """Give the true beats, of a track with beat labels."""
        positions = self.values["positions"]
        return Beats(np.array(self.values["times_s"]), None if positions is None else np.array(positions))

    def onsets(self) -> Onsets:
        """Give the true onsets, of a track with onset labels."""
        velocities = np.array(self.values["velocities"])
        return Onsets(np.array(self.values["times_s"]), self.values["classes"], velocities)


def label_lines(corpus: Corpus) -> dict[str, list[dict[str, Any]]]:
    """Gather a corpus's annotations by task; `audio` lists what to make spectrograms of.

    Tracks that are in pairs are for pairing alone: the drums or the melody of a song are no examples of its genre.

    Raises
    ------
    AnnotationError
        If an event file or pairs.csv cannot be read, naming file and line.
    """
    lines: dict[str, list[dict[str, Any]]] = {name: [] for name in ("audio", *LABELLED_TASKS)}
    by_take = {pair.take: pair for pair in corpus.pairs()}
    beats_of_pairs = {pair.beat for pair in by_take.values()}
    for track in corpus.tracks:
        lines["audio"].append({"id": track.id, "path": track.path, "sha256": track.sha256})
        common = {"id": track.id, "split": track.split, "genre": track.genre, "licence": track.licence}
        if pair := by_take.get(track.id):
            lines["pairing"].append({**common, "beat": pair.beat, "parts": pair.parts})
        if pair or track.id in beats_of_pairs:
            continue
        beats, onsets = corpus.beats(track), corpus.onsets(track)
        if beats is not None:
            positions = None if beats.positions is None else beats.positions.tolist()
            signature = str(track.time_signature) if track.time_signature else None
            extra = {"times_s": beats.times_s.tolist(), "positions": positions, "time_signature": signature}
            lines["beat"].append({**common, **extra})
        if onsets is not None:
            extra = {"times_s": onsets.times_s.tolist(), "classes": list(onsets.classes)}
            lines["onset"].append({**common, **extra, "velocities": onsets.velocities.tolist()})
        if track.genre:
            lines["genre"].append(common)
        if stems := corpus.stems(track):
            told = {
                name: {"path": path.relative_to(corpus.root).as_posix(), "sha256": sha256_file(path)}
                for name, path in stems.items()
            }
            lines["separation"].append({**common, "stems": told})
    return lines


def write_labels(folder: Path, corpus: Corpus) -> None:
    """Write `folder`/<task>/<corpus>.jsonl for every task, and the audio list."""
    for task, lines in label_lines(corpus).items():
        text = "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines)
        write_text(folder / task / f"{corpus.name}.jsonl", text)


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Read a file of one JSON object a line; CorpusError when it is missing or damaged."""
    try:
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    except FileNotFoundError:
        raise CorpusError(f"{path}: is missing; `dvc repro` makes it") from None
    except ValueError as error:
        raise CorpusError(f"{path}: is damaged: {error}") from None


def read_labels(folder: Path, task: str, corpora: Iterable[str] | None = None) -> list[LabelledTrack]:
    """Read one task's labels from all corpora (or those named), in a fixed order.

    Raises
    ------
    CorpusError
        If there are none.
    """
    names = sorted(corpora) if corpora is not None else sorted(path.stem for path in (folder / task).glob("*.jsonl"))
    tracks = [
        LabelledTrack(name, line.pop("id"), line.pop("split"), line.pop("genre"), line.pop("licence", ""), line)
        for name in names
        for line in read_lines(folder / task / f"{name}.jsonl")
    ]
    if not tracks:
        wanted = _WANTED.get(task, f"annotations for {task}")
        raise CorpusError(f"{folder / task}: no corpus in the pipeline has {wanted}")
    return tracks


def content_hashes(folder: Path, task: str) -> dict[str, str]:
    """Return the SHA-256 of each corpus's labels and audio, by name: the content that a model was trained on."""
    hashes = {}
    for path in sorted((folder / task).glob("*.jsonl")):
        digest = hashlib.sha256(path.read_bytes())
        audio = folder / "audio" / path.name
        # What listeners did has no audio of its own.
        digest.update(audio.read_bytes() if audio.is_file() else b"")
        hashes[path.stem] = digest.hexdigest()
    return hashes


def write_features(folder: Path, params: FeatureParams, tracks: Iterable[tuple[str, NDArray[np.float32]]]) -> None:
    """Write spectrograms one behind the other as one float16 array with an index; atomically.

    Parameters
    ----------
    folder
        Where to: `features.f16` and `index.json`.
    params
        The front end that made them.
    tracks
        Pairs of a track's id and its spectrogram, shape (frames, mel_bands), taken one at a time.
    """
    index: dict[str, tuple[int, int]] = {}
    with atomic_path(folder) as temporary:
        temporary.mkdir()
        start = 0
        with (temporary / ARRAY).open("wb") as stream:
            for name, spectrogram in tracks:
                stream.write(np.ascontiguousarray(spectrogram, dtype=np.float16).tobytes())
                index[name] = (start, spectrogram.shape[0])
                start += spectrogram.shape[0]
        write_json(temporary / INDEX, {"params": params.to_dict(), "tracks": index})


class FeatureStore:
    """The spectrograms of every corpus in a folder, opened on demand and never read whole.

    Raises
    ------
    CorpusError
        If a corpus or track is not there.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._arrays: dict[str, NDArray[np.float16]] = {}
        self._indexes: dict[str, dict[str, tuple[int, int]]] = {}
        self._params: dict[str, FeatureParams] = {}

    def _open(self, corpus: str) -> None:
        if corpus in self._arrays:
            return
        path = self.folder / corpus / INDEX
        try:
            index = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise CorpusError(f"{path.parent}: has no features; `dvc repro` makes them") from None
        params = FeatureParams(**index["params"])
        array = np.memmap(path.with_name(ARRAY), dtype=np.float16, mode="r").reshape(-1, params.mel_bands)
        self._indexes[corpus] = {name: (start, length) for name, (start, length) in index["tracks"].items()}
        self._params[corpus] = params
        self._arrays[corpus] = array

    def params(self, corpora: Iterable[str]) -> FeatureParams:
        """Return the front end's parameters, which all `corpora` must share."""
        found = set()
        for corpus in corpora:
            self._open(corpus)
            found.add(self._params[corpus])
        if len(found) != 1:
            raise CorpusError(f"the corpora in {self.folder} have features of {len(found)} different kinds")
        return found.pop()

    def get(self, corpus: str, track: str) -> NDArray[np.float16]:
        """Return a view of a track's spectrogram, shape (frames, mel_bands), float16."""
        self._open(corpus)
        if track not in self._indexes[corpus]:
            raise CorpusError(f"{self.folder / corpus}: has no features of track {track}")
        start, length = self._indexes[corpus][track]
        return self._arrays[corpus][start : start + length]

    def seconds(self, corpus: str, track: str) -> float:
        """Return how long a track is."""
        return float(self.get(corpus, track).shape[0] / self._params[corpus].frame_rate_hz)


@dataclass(frozen=True)
class Window:
    """A stretch of one track: its index in the list of tracks and the frames from `start` to `start + length`."""

    track: int
    start: int
    length: int


def training_windows(lengths: Sequence[int], window: int, rng: np.random.Generator) -> list[Window]:
    """Cut every track to windows at random offsets and shuffle them: one epoch.

    A track gives as many windows as fit its length, at least one; each epoch cuts it elsewhere.
    """
    windows = []
    for track, length in enumerate(lengths):
        count = max(1, length // window)
        slack = max(0, length - count * window)
        offset = int(rng.integers(slack + 1))
        windows += [Window(track, offset + window * number, window) for number in range(count)]
    order = rng.permutation(len(windows))
    return [windows[position] for position in order]


def whole_windows(lengths: Sequence[int], window: int) -> list[Window]:
    """Cut every track from its beginning to windows that lie in it whole, at least one: the same every time."""
    return [
        Window(track, start, window)
        for track, length in enumerate(lengths)
        for start in range(0, max(1, length - window + 1), window)
    ]


def batches(windows: Sequence[Window], size: int) -> Iterator[list[Window]]:
    """Split windows into lists of `size`; the last may be shorter."""
    for start in range(0, len(windows), size):
        yield list(windows[start : start + size])
