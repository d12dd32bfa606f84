"""What training separation reads: the stems of every track of a corpus, decoded once, in one memory-mapped array.

::

    data/stems/<corpus>/stems.i16    int16, tracks one behind the other, each (stems, channels, samples)
    data/stems/<corpus>/index.json   sample rate; of each track its first value, stems, channels and samples
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.progress import track as shown

from backbeat.audio import decode
from backbeat.errors import ConfigError, CorpusError
from backbeat.files import atomic_path, sha256_file, write_json

ARRAY, INDEX = "stems.i16", "index.json"
_FULL_SCALE = 32767.0
_WORD = re.compile(r"[A-Za-z0-9_-]{1,40}")


def write_stems(
    folder: Path, corpus: Path, lines: Iterable[Mapping[str, Any]], sample_rate_hz: int, *, progress: bool = True
) -> None:
    """Decode the stems of a corpus; `folder` appears whole or not at all.

    Parameters
    ----------
    folder
        Where to.
    corpus
        The corpus's folder.
    lines
        Of `data/labels/separation`: a track's id, and for each stem its path in the corpus and SHA-256.
    sample_rate_hz
        Of what is written.
    progress
        Whether to show a progress bar.

    Raises
    ------
    CorpusError
        If a file is missing or another than was validated, or the stems of a track differ in length.
    """
    index: dict[str, dict[str, Any]] = {}
    with atomic_path(folder) as temporary:
        temporary.mkdir()
        start = 0
        with (temporary / ARRAY).open("wb") as stream:
            for line in shown(list(lines), description=f"stems of {corpus.name}", disable=not progress):
                stems = {name: _stem(corpus, told, sample_rate_hz) for name, told in sorted(line["stems"].items())}
                lengths = {samples.shape[1] for samples in stems.values()}
                if len(lengths) > 1:
                    raise CorpusError(f"{corpus}: the stems of {line['id']} differ in length")
                sides = max(samples.shape[0] for samples in stems.values())
                whole = np.stack([np.broadcast_to(samples, (sides, *lengths)) for samples in stems.values()])
                stream.write(np.rint(np.clip(whole, -1, 1) * _FULL_SCALE).astype("<i2").tobytes())
                index[line["id"]] = {"start": start, "stems": list(stems), "shape": list(whole.shape[1:])}
                start += whole.size
        write_json(temporary / INDEX, {"sample_rate_hz": sample_rate_hz, "tracks": index})


def _stem(corpus: Path, told: Mapping[str, str], sample_rate_hz: int) -> NDArray[np.float32]:
    path = corpus / told["path"]
    if not path.is_file() or sha256_file(path) != told["sha256"]:
        raise CorpusError(f"{path}: is missing or not the stem that was validated; run `dvc repro` again")
    audio = decode(path, sample_rate_hz=sample_rate_hz, allow_silence=True)
    if audio.samples.shape[0] > 2:
        raise CorpusError(f"{path}: has more than two channels")
    return audio.samples


@dataclass(frozen=True)
class Instruments:
    """Which stems make up each instrument that is told apart.

    Parameters
    ----------
    members
        Names of stems by instrument; the instrument without any is all that no other has.

    Raises
    ------
    ConfigError
        If there are fewer than two instruments, two without stems, or a stem belongs to two.
    """

    members: Mapping[str, tuple[str, ...]]

    def __post_init__(self) -> None:
        stems = [name for names in self.members.values() for name in names]
        if len(self.members) < 2 or len(set(stems)) != len(stems):
            raise ConfigError("name two instruments or more, and each stem once")
        if sum(not names for names in self.members.values()) > 1:
            raise ConfigError("only one instrument may be all the rest")

    @classmethod
    def parse(cls, lines: Iterable[str]) -> Instruments:
        """Read "drums" (the stem of that name), "band:bass+other" (their sum) or "rest:*" (what no other has).

        Raises
        ------
        ConfigError
            As for the class, and where a name is no word or appears twice.
        """
        members: dict[str, tuple[str, ...]] = {}
        for line in lines:
            instrument, colon, stems = line.partition(":")
            if not _WORD.fullmatch(instrument) or instrument in members:
                raise ConfigError(f"instrument {line!r}: write NAME, NAME:STEM+STEM or NAME:*, each name once")
            members[instrument] = () if stems == "*" else tuple(stems.split("+")) if colon else (instrument,)
        return cls(members)

    def gather(self, stems: Mapping[str, NDArray[np.float32]]) -> NDArray[np.float32]:
        """Sum stems, each (channels, samples), to (instruments, channels, samples); what is not there is silent."""
        return np.stack([self.one(stems, row) for row in range(len(self.members))])

    def one(self, stems: Mapping[str, NDArray[np.float32]], row: int) -> NDArray[np.float32]:
        """Sum the stems of one instrument, by its place among them; (channels, samples)."""
        shape = next(iter(stems.values())).shape
        return sum((stems[name] for name in self._parts(stems)[row]), start=np.zeros(shape, np.float32))

    def check(self, stems: Iterable[str]) -> None:
        """Refuse instruments that are never heard, and stems that are in no track; ConfigError names those that are."""
        there = sorted(set(stems))
        for name in (one for part in self.members.values() for one in part):
            if name not in there:
                raise ConfigError(f"no track has a stem {name!r}; there are {', '.join(there)}")
        for instrument, part in zip(self.members, self._parts(there), strict=True):
            if not part:
                raise ConfigError(f"no track has a stem for {instrument!r}; there are {', '.join(there)}")

    def _parts(self, stems: Iterable[str]) -> list[list[str]]:
        """Return which of `stems` belong to each instrument."""
        named = {name for names in self.members.values() for name in names}
        return [
            [one for one in stems if (one in names if names else one not in named)] for names in self.members.values()
        ]


class StemStore:
    """The stems of every corpus in a folder, opened on demand and never read whole; CorpusError when not there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._open: dict[str, tuple[NDArray[np.int16], dict[str, Any]]] = {}

    def _corpus(self, name: str) -> tuple[NDArray[np.int16], dict[str, Any]]:
        if name not in self._open:
            path = self.folder / name / INDEX
            try:
                index = json.loads(path.read_text(encoding="utf-8"))
            except FileNotFoundError:
                raise CorpusError(f"{path.parent}: has no stems; `dvc repro` makes them") from None
            self._open[name] = np.memmap(path.with_name(ARRAY), dtype="<i2", mode="r"), index
        return self._open[name]

    def sample_rate_hz(self, corpora: Iterable[str]) -> int:
        """Return the rate, which all `corpora` must share."""
        rates = {self._corpus(name)[1]["sample_rate_hz"] for name in corpora}
        if len(rates) != 1:
            raise CorpusError(f"the corpora in {self.folder} have stems of {len(rates)} different rates")
        return int(rates.pop())

    def _entry(self, corpus: str, track: str) -> tuple[NDArray[np.int16], dict[str, Any]]:
        array, index = self._corpus(corpus)
        if track not in index["tracks"]:
            raise CorpusError(f"{self.folder / corpus}: has no stems of track {track}")
        return array, index["tracks"][track]

    def names(self, corpus: str, track: str) -> list[str]:
        """Return the names of a track's stems."""
        return list(self._entry(corpus, track)[1]["stems"])

    def length(self, corpus: str, track: str) -> int:
        """Return how many samples a track has."""
        return int(self._entry(corpus, track)[1]["shape"][1])

    def seconds(self, corpus: str, track: str) -> float:
        """Return how long a track is."""
        return self.length(corpus, track) / self.sample_rate_hz([corpus])

    def get(self, corpus: str, track: str, start: int = 0, stop: int | None = None) -> dict[str, NDArray[np.float32]]:
        """Return samples `start` to `stop` of each stem, (channels, samples), full scale ±1."""
        array, entry = self._entry(corpus, track)
        stems, (channels, samples) = entry["stems"], entry["shape"]
        whole = array[entry["start"] : entry["start"] + len(stems) * channels * samples]
        cut = whole.reshape(len(stems), channels, samples)[..., start:stop].astype(np.float32) / _FULL_SCALE
        return dict(zip(stems, cut, strict=True))
