"""Folders of stems as a corpus: a folder a song with a file a stem, or files whose channels are stems.

::

    SOURCE/Some Song/vocals.wav, drums.wav, bass.wav...    as MUSDB18-HQ and most multitracks have it
    SOURCE/train/Some Song/vocals.wav...                   folders named for splits, at the top, are those splits
    SOURCE/singer_1_01.wav                                 with channels: [accompaniment, vocals]

The song of the corpus is the sum of its stems; a file named `mixture` or `mix` among them is passed over, since what
was mastered is no sum.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.progress import track as shown

from backbeat.audio import AUDIO_SUFFIXES, decode
from backbeat.audio.encode import encode
from backbeat.corpus.contract import MIXTURES, Corpus, Track, new_corpus, read_corpus, write_annotations
from backbeat.corpus.folder import groups_of, slug, track_ids
from backbeat.corpus.splits import Shares, assign_splits
from backbeat.errors import ConfigError, CorpusError
from backbeat.files import sha256_file

_SPLIT_FOLDERS = {"train": "train", "valid": "valid", "validation": "valid", "test": "test"}


@dataclass(frozen=True)
class _Song:
    path: Path
    id: str
    group: str
    split: str
    stems: Mapping[str, Path]


def import_stems(
    source: Path,
    root: Path,
    *,
    channels: Sequence[str] = (),
    shares: Shares | None = None,
    seed: int = 0,
    group_pattern: str = "",
    licence: str = "",
    progress: bool = True,
) -> Corpus:
    """Make a corpus with stems at `root`: audio/ID.flac, stems/ID/STEM.flac, annotations.csv.

    Parameters
    ----------
    source
        Where the stems are; nothing in it is changed.
    channels
        The stem of each channel, where files hold stems as channels; none where folders hold a file a stem.
    shares, seed
        How songs are divided, where no folders named train, valid and test divide them. With train and test alone,
        as MUSDB18-HQ has them, songs for valid are taken out of train.
    group_pattern
        A regular expression matched at the start of the song's name; what it matches (its first group, if it has one)
        is never divided between splits: ``[^_]+`` takes what is before the first "_", a singer say.
    licence
        Written to every row.
    progress
        Whether to show a progress bar.

    Raises
    ------
    CorpusError
        If there are no stems, a song has one only, or two of one name, or those of a song do not fit each other; if
        `root` holds something that is no corpus, or lies in `source`, or around it.
    AudioError
        If a file cannot be decoded.
    ConfigError
        If the pattern is not a regular expression, or matches nothing, or names of channels make no sense.
    """
    if root.resolve().is_relative_to(source.resolve()):
        raise CorpusError(f"{root}: the corpus cannot be made in the folder that it is made from")
    if channels and (isinstance(channels, str) or len(set(channels)) < 2 or len(set(channels)) != len(channels)):
        raise ConfigError("channels must name two stems or more, each once")
    for name in channels:
        if slug(name) != name or name in MIXTURES:
            raise ConfigError(f"{name!r} cannot name a stem: letters, digits, '.', '_' and '-' can, but no mixture")
    if not source.is_dir():
        raise CorpusError(f"{source}: is not a folder")
    songs = list(_songs(source, group_pattern, by_channel=bool(channels)))
    if not songs:
        wanted = "folders with a file a stem (vocals.wav, drums.wav...); where channels are stems, name them (channels)"
        raise CorpusError(f"{source}: holds no {'audio files' if channels else wanted}")
    splits = _splits(songs, shares or Shares(), seed)
    rows = []
    with new_corpus(root, source) as folder:
        for song, split in shown(
            list(zip(songs, splits, strict=True)), description=f"stems of {root.name}", disable=not progress
        ):
            stems, rate_hz = _by_channel(song.path, channels) if channels else _by_file(song)
            for name, samples in stems.items():
                _write(folder / "stems" / song.id / f"{name}.flac", samples, rate_hz)
            audio = folder / "audio" / f"{song.id}.flac"
            _write(audio, sum(stems.values(), start=np.zeros((1, 1), np.float32)), rate_hz)
            path = audio.relative_to(folder).as_posix()
            digest = sha256_file(audio)
            rows.append(Track(song.id, path, split, source=song.group, licence=licence, sha256=digest))
        write_annotations(folder, rows)
    return read_corpus(root)


def _splits(songs: Sequence[_Song], shares: Shares, seed: int) -> list[str]:
    """Give each song the split that its folder is named for; deal out those that have none."""
    splits = [song.split for song in songs]
    if set(splits) == {"train", "test"} and shares.valid:
        # As MUSDB18-HQ is: what a training is chosen by comes from what it learns from.
        rest = shares.train + shares.valid
        shares = Shares(shares.train / rest, shares.valid / rest, 0.0)
        splits = ["" if split == "train" else split for split in splits]
    free = [number for number, split in enumerate(splits) if not split]
    if not free:
        return splits
    dealt = assign_splits([""] * len(free), [songs[number].group for number in free], shares, seed)
    for number, split in zip(free, dealt, strict=True):
        splits[number] = split
    return splits


def _songs(source: Path, group_pattern: str, *, by_channel: bool) -> Iterator[_Song]:
    found: dict[Path, dict[str, Path]] = {}
    for here, folders, names in os.walk(source):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        audio = [Path(here) / name for name in sorted(names) if Path(name).suffix.lower() in AUDIO_SUFFIXES]
        if by_channel:
            found.update({path: {} for path in audio})
        elif Path(here) != source and (files := [path for path in audio if path.stem.lower() not in MIXTURES]):
            stems = {slug(path.stem.lower()): path for path in files}
            if len(stems) < len(files):
                raise CorpusError(f"{here}: has two files for one stem: {', '.join(path.name for path in files)}")
            if len(stems) > 1:
                found[Path(here)] = stems
            elif not folders:  # beside folders, a file is what they make up
                raise CorpusError(f"{files[0]}: is the only stem in its folder; a song has two or more")
    ids = track_ids([path.relative_to(source) for path in found])
    for (path, stems), song_id, group in zip(found.items(), ids, groups_of(found, group_pattern), strict=True):
        split = _SPLIT_FOLDERS.get(path.relative_to(source).parts[0].lower(), "")
        yield _Song(path, song_id, group or song_id, split, stems)


def _by_channel(path: Path, channels: Sequence[str]) -> tuple[dict[str, NDArray[np.float32]], int]:
    audio = decode(path, allow_silence=True)
    if audio.samples.shape[0] != len(channels):
        raise CorpusError(f"{path}: has {audio.samples.shape[0]} channels; the stems named are {', '.join(channels)}")
    return {name: audio.samples[row : row + 1] for row, name in enumerate(channels)}, audio.sample_rate_hz


def _by_file(song: _Song) -> tuple[dict[str, NDArray[np.float32]], int]:
    decoded = {name: decode(path, allow_silence=True) for name, path in song.stems.items()}
    rates = {audio.sample_rate_hz for audio in decoded.values()}
    if len(rates) > 1:
        raise CorpusError(f"{song.path}: its stems have different rates: {', '.join(map(str, sorted(rates)))} Hz")
    if unfit := [name for name, audio in decoded.items() if audio.samples.shape[0] > 2]:
        raise CorpusError(f"{song.stems[unfit[0]]}: has more than two channels")
    # Multitracks often end when their instrument does; what is behind is silence.
    length = max(audio.samples.shape[1] for audio in decoded.values())
    sides = max(audio.samples.shape[0] for audio in decoded.values())
    stems = {}
    for name, audio in decoded.items():
        whole = np.zeros((sides, length), np.float32)
        whole[:, : audio.samples.shape[1]] = audio.samples
        stems[name] = whole
    return stems, rates.pop()


def _write(path: Path, samples: NDArray[np.float32], rate_hz: int) -> None:
    """Write as 24-bit FLAC, which holds what 16-bit stems sum to; a sum beyond full scale is clipped."""
    path.parent.mkdir(parents=True, exist_ok=True)
    encode(path, samples, rate_hz, bit_depth=24)
