"""Audio files to files of stems: any length, in flat memory, all of them or none."""

from __future__ import annotations

import itertools
import json
import math
import os
import re
import shutil
import socket
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backbeat.audio import decode, probe
from backbeat.audio.encode import SUFFIX_CODECS, AudioWriter, stereo_bitrates
from backbeat.audio.limits import AudioLimits
from backbeat.audio.mixing import StreamResampler, stereo_weights
from backbeat.audio.opening import open_file
from backbeat.errors import ConfigError, UnsupportedAudioError
from backbeat.files import folder_if_filled, sha256_file, write_json
from backbeat.separation.cache import StemCache, cache_key
from backbeat.separation.network import SeparatorNetwork
from backbeat.separation.noise import NO_NOISE, quietest, reduced
from backbeat.separation.streaming import separate_blocks

#: What a folder of stems says of itself.
RECORD = "separation.json"
_BLOCK_SAMPLES = 1 << 17
# Scratch folders are named after who works in them, so that nobody else's are taken for left behind.
_SCRATCH, _HOST = ".separating", re.sub(r"[^A-Za-z0-9-]", "-", socket.gethostname())
_STRAY_AFTER_S = 2 * 86400.0
#: Long audio is the point here: memory does not grow with it.
LONG = AudioLimits(max_bytes=8 << 30, max_seconds=24 * 3600.0)


@dataclass(frozen=True)
class StemFormat:
    """How stems are written.

    Parameters
    ----------
    suffix
        "wav", "flac", "mp3", "ogg", "m4a" or another that `audio.encode` knows.
    bit_depth
        16, 24 or 32 where the format has depths.
    bitrate
        Bits a second of lossy formats; None for a good quality.
    sample_rate_hz
        None for that of the source.

    Raises
    ------
    ConfigError
        If the format is not known.
    """

    suffix: str = "wav"
    bit_depth: int = 16
    bitrate: int | None = None
    sample_rate_hz: int | None = None

    def __post_init__(self) -> None:
        if f".{self.suffix}" not in SUFFIX_CODECS:
            known = ", ".join(sorted(name[1:] for name in SUFFIX_CODECS))
            raise ConfigError(f"format {self.suffix!r} is none of {known}")
        if self.bit_depth not in (16, 24, 32):
            raise ConfigError(f"{self.bit_depth} bits: choose 16, 24 or 32")
        if self.bitrate is not None:
            limits = stereo_bitrates(f".{self.suffix}")
            if limits is None:
                raise ConfigError(f"{self.suffix} has no bit rate to choose: it is for lossy formats")
            if not limits[0] <= self.bitrate <= limits[1]:
                span = f"{limits[0] / 1000:g} to {limits[1] / 1000:g}"
                raise ConfigError(f"{self.bitrate / 1000:g} kilobits a second: {self.suffix} has {span}")
        if self.sample_rate_hz is not None and not 8000 <= self.sample_rate_hz <= 192_000:
            raise ConfigError(f"a sample rate of {self.sample_rate_hz} Hz: choose 8000 to 192000")
        if SUFFIX_CODECS[f".{self.suffix}"] == "opus" and self.sample_rate_hz not in (None, 48000):
            raise ConfigError(f"a sample rate of {self.sample_rate_hz} Hz: Opus is always at 48000")


@dataclass(frozen=True)
class Preparation:
    """What is done to the audio before it is separated; all of it is off unless asked for.

    Parameters
    ----------
    highpass_hz
        Frequencies below this are taken away for good (Butterworth, fourth order): rumble, offsets.
    loudness_lufs
        The network hears the song at this integrated loudness (BS.1770-4); stems are brought back to the song's level.
    noise_reduction
        How much of steady noise is taken away for good, 0 to 1: hiss, hum. What it sounds like is heard where the song
        is quietest (`noise.py`); without such a place the song is left as it is, with a warning.
    silence_db
        Stretches of about 12 s in which nothing is above this, in dB of full scale, are silent in all stems, unheard.

    Raises
    ------
    ConfigError
        If a number makes no sense.
    """

    highpass_hz: float | None = None
    loudness_lufs: float | None = None
    noise_reduction: float | None = None
    silence_db: float | None = None

    def __post_init__(self) -> None:
        if self.highpass_hz is not None and not 1 <= self.highpass_hz <= 2000:
            raise ConfigError(f"a high-pass at {self.highpass_hz:g} Hz: choose 1 to 2000")
        if self.loudness_lufs is not None and not -60 <= self.loudness_lufs <= 0:
            raise ConfigError(f"a loudness of {self.loudness_lufs:g} LUFS: choose -60 to 0")
        if self.noise_reduction is not None and not 0 < self.noise_reduction <= 1:
            raise ConfigError(f"noise reduction by {self.noise_reduction:g}: choose a share up to 1")
        if self.silence_db is not None and not -200 <= self.silence_db <= -20:
            raise ConfigError(f"silence at {self.silence_db:g} dB: choose -200 to -20")


@dataclass(frozen=True)
class SeparationOptions:
    """What is wanted of a file.

    Parameters
    ----------
    stems
        Names of those to write; all of the model when left out.
    how, before
        Their format, and what is done to the audio first.
    again
        Whether to do it again where it has been done.
    """

    stems: tuple[str, ...] | None = None
    how: StemFormat = StemFormat()
    before: Preparation = Preparation()
    again: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return the options as plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> SeparationOptions:
        """Read what `to_dict` gave; ConfigError where it is something else."""
        try:
            stems = None if values["stems"] is None else tuple(map(str, values["stems"]))
            return cls(stems, StemFormat(**values["how"]), Preparation(**values["before"]), bool(values["again"]))
        except (KeyError, TypeError) as error:
            raise ConfigError(f"these are no options of a separation: {error}") from None

    def check(self, instruments: Sequence[str]) -> tuple[str, ...]:
        """Return the stems to write, of a model that has `instruments`; ConfigError where one is not known."""
        for name in self.stems or ():
            if name not in instruments:
                raise ConfigError(f"there is no stem {name!r}: there are {', '.join(instruments)}")
        return self.stems or tuple(instruments)


#: All stems of the audio as it is, as WAV with 16 bits at the rate of the source.
USUAL = SeparationOptions()


@dataclass(frozen=True)
class Separated:
    """What came of a file.

    Parameters
    ----------
    stems
        The file of each stem.
    warnings
        What was wrong with the source.
    skipped
        Whether the stems were there already, made from the same audio in the same way.
    cached
        Whether they came from the cache.
    """

    stems: dict[str, Path]
    warnings: tuple[str, ...] = ()
    skipped: bool = False
    cached: bool = False


def separate_file(
    path: Path,
    folder: Path,
    network: SeparatorNetwork,
    model: str,
    options: SeparationOptions = USUAL,
    *,
    segments_at_once: int = 1,
    cache: StemCache | None = None,
    progress: Callable[[float, float], None] | None = None,
    limits: AudioLimits = LONG,
) -> Separated:
    """Separate one file into `folder`, a file a stem: `folder/vocals.wav`...

    Stems are as long as the source, to the sample, and begin where it begins; lossy codecs add or drop a part of a
    frame, and Opus is always at 48 kHz. They are stereo, of one channel too. Nothing is there before all is written;
    `separation.json` in the folder says of each file how it was made. Stems of one song made in another way stay
    beside them, where their names differ.

    Parameters
    ----------
    path, folder
        The audio, and where the stems go.
    network, model
        The network, and the name by which the record calls it.
    options
        What is wanted.
    segments_at_once
        See `separate_blocks`.
    cache
        Where stems are looked for before they are made, and kept after.
    progress
        Called with the seconds done and the seconds in all.
    limits
        The bytes and seconds that the audio may have.

    Raises
    ------
    AudioError
        If the file cannot be heard, or its rate cannot be written in the format.
    ConfigError
        If a stem is not known; if, unless they are to be made again, the folder has stems of another song, or files of
        their names that were made otherwise or not here; if a stem would replace the song.
    """
    chosen, how, before = options.check(network.params.instruments), options.how, options.before
    targets = {name: folder / f"{name}.{how.suffix}" for name in chosen}
    where = os.fsencode(path.absolute()).decode("utf-8", "backslashreplace")
    source = {"source": where, "source_sha256": _hash(path)}
    made_so = {**source, "model": model, **asdict(how), **asdict(before)}
    files = _recorded(folder)
    if not options.again:
        if all(file.is_file() and _alike(files.get(file.name), made_so) for file in targets.values()):
            return Separated(targets, skipped=True)
        _keep_others(folder, targets.values(), files, made_so)
    if taken := [file for file in targets.values() if file.is_dir()]:
        raise ConfigError(f"{taken[0]}: is a folder: choose another place for the stems")
    if any(file.exists() and file.samefile(path) for file in targets.values()):
        raise ConfigError(f"{path}: would be replaced by a stem of itself: choose another folder")
    # What the format cannot hold is said before anything is made.
    rate_hz = how.sample_rate_hz or probe(path).sample_rate_hz
    try:
        AudioWriter(targets[chosen[0]], 2, rate_hz, bit_depth=how.bit_depth, bitrate=how.bitrate)
    except UnsupportedAudioError as error:
        raise UnsupportedAudioError(path, f"its stems {error.cause} (--rate)") from None
    key = cache_key(source["source_sha256"], model, {**asdict(how), **asdict(before)})
    warnings: tuple[str, ...] = ()
    with ExitStack() as stack:
        stack.enter_context(folder_if_filled(folder))
        remove_strays(folder)
        scratch = Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix=f"{_SCRATCH}@{_HOST}@{os.getpid()}.", dir=folder))
        )
        made = {name: scratch / target.name for name, target in targets.items()}
        if cache is not None:
            stack.enter_context(cache.once(key))
        cached = (
            cache is not None and not options.again and all(cache.fetch(key, name, file) for name, file in made.items())
        )
        if not cached:
            warnings = _separate(path, made, network, how, before, segments_at_once, progress, limits)
            for name, file in made.items():
                if cache is not None:
                    cache.keep(key, name, file)
        files = _recorded(folder)  # once more: another may have written some meanwhile
        if not options.again:
            _keep_others(folder, targets.values(), files, made_so)
        # Were this to stop half-way, nothing would say how these were made, only that they may be replaced.
        write_json(folder / RECORD, {"files": {**files, **dict.fromkeys(file.name for file in made.values())}})
        for name, file in made.items():
            file.replace(targets[name])
        write_json(folder / RECORD, {"files": {**files, **{file.name: made_so for file in made.values()}}})
    return Separated(targets, warnings, cached=cached)


def _separate(
    path: Path,
    made: dict[str, Path],
    network: SeparatorNetwork,
    how: StemFormat,
    before: Preparation,
    segments_at_once: int,
    progress: Callable[[float, float], None] | None,
    limits: AudioLimits,
) -> tuple[str, ...]:
    """Write the stems of `path` to the files of `made`; return what was wrong with the source."""
    network_hz = network.params.sample_rate_hz
    with tempfile.TemporaryDirectory(prefix=".decoding-", dir=next(iter(made.values())).parent) as spool:
        measure = before.loudness_lufs is not None
        audio = decode(path, limits=limits, allow_silence=True, measure_loudness=measure, spool=Path(spool))
        samples, rate_hz = audio.samples, audio.sample_rate_hz
        gain = 1.0
        if before.loudness_lufs is not None and audio.loudness_lufs is not None:
            gain = 10 ** ((before.loudness_lufs - audio.loudness_lufs) / 20)
        out_hz = how.sample_rate_hz or rate_hz
        total = samples.shape[1] if out_hz == rate_hz else math.ceil(samples.shape[1] * out_hz / rate_hz)
        with ExitStack() as stack:
            writers = [
                stack.enter_context(
                    AudioWriter(file, 2, out_hz, bit_depth=how.bit_depth, bitrate=how.bitrate, tags={"title": name})
                )
                for name, file in made.items()
            ]
            weights = (gain * stereo_weights(audio.info.channel_names)).astype(np.float32)
            sides = _blocks(samples, weights)
            warnings = audio.warnings
            if before.noise_reduction is not None:
                noise = quietest(samples, rate_hz)
                if noise is None:
                    warnings = (*warnings, NO_NOISE)
                else:
                    sides = reduced(sides, weights @ noise, rate_hz, before.noise_reduction)
            if before.highpass_hz is not None:
                sides = _highpassed(sides, rate_hz, before.highpass_hz)
            heard = _resampled(sides, rate_hz, network_hz, None)
            silence = None if before.silence_db is None else gain * 10 ** (before.silence_db / 20)
            rows = [network.params.instruments.index(name) for name in made]
            parts = separate_blocks(network, heard, segments_at_once=segments_at_once, silence=silence)
            chosen = (part[rows].reshape(2 * len(rows), -1) / np.float32(gain) for part in parts)
            done = 0
            for block in _resampled(chosen, network_hz, out_hz, total):
                for number, writer in enumerate(writers):
                    writer.write(block[2 * number : 2 * number + 2])
                done += block.shape[1]
                if progress:
                    progress(done / out_hz, total / out_hz)
    return warnings


def song_folders(songs: Sequence[Path]) -> list[str]:
    """Name a folder for each song: after the song, and where others are called so after as many folders as it takes.

    One song named twice has one folder.
    """
    places = [Path(os.path.abspath(song)) for song in songs]  # noqa: PTH100 (".." is to be gone, links are to stay)
    longer = {place: _names(place) for place in places}
    names = {place: next(kinds) for place, kinds in longer.items()}
    # Folders that differ in case alone are one to many file systems.
    while alike := {name for name, count in Counter(map(str.casefold, names.values())).items() if count > 1}:
        tried = {place: next(longer[place], name) for place, name in names.items() if name.casefold() in alike}
        if all(names[place] == name for place, name in tried.items()):
            break
        names |= tried
    taken: set[str] = set()
    for place, name in names.items():
        numbered = itertools.chain([name], (f"{name} ({number})" for number in itertools.count(2)))
        names[place] = next(one for one in numbered if one.casefold() not in taken)
        taken.add(names[place].casefold())
    return [names[place] for place in places]


def _names(place: Path) -> Iterator[str]:
    """Give longer and longer names for the folder of a song."""
    folders = place.parts[1:-1]
    for depth in range(len(folders) + 1):
        for last in (place.stem, place.name):
            name = " - ".join((*folders[len(folders) - depth :], last))
            # A file called "...wav" has the stem "..", which as a folder would be the one above.
            yield name if name.strip(".") else f"song {name.replace('.', '_')}"


def is_stem(path: Path) -> bool:
    """Tell whether a file is a stem that `separate_file` wrote, by the record in its folder."""
    return path.name in _recorded(path.parent)


def remove_strays(folder: Path) -> None:
    """Remove what a killed process left half-made in a folder of stems."""
    for stray in folder.glob(f"{_SCRATCH}*"):
        _, host, process = (*stray.name.split("@"), "", "")[:3]
        with suppress(OSError):
            old = time.time() - stray.stat().st_mtime > _STRAY_AFTER_S
            if old or (host == _HOST and not _alive(process.partition(".")[0])):
                shutil.rmtree(stray, ignore_errors=True)


def _alive(process: str) -> bool:
    try:
        os.kill(int(process), 0)
    except (ValueError, ProcessLookupError):
        return False
    except PermissionError:
        pass
    return True


def _hash(path: Path) -> str:
    with open_file(path):  # which says what is wrong where it is no file
        return sha256_file(path)


def _recorded(folder: Path) -> dict[str, Any]:
    """Return how each file of a folder of stems was made, by its name; None for one that was being replaced."""
    try:
        files = json.loads((folder / RECORD).read_text(encoding="utf-8"))["files"]
        return {name: made for name, made in files.items() if made is None or "source_sha256" in made}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _alike(made: Any, wanted: dict[str, Any]) -> bool:
    """Tell whether a stem was made from the same audio in the same way; a song may have moved."""
    return isinstance(made, dict) and {**made, "source": wanted["source"]} == wanted


def _keep_others(folder: Path, targets: Iterable[Path], files: dict[str, Any], wanted: dict[str, Any]) -> None:
    """Refuse a folder with stems of another song, and to replace what was made otherwise, unless the song changed."""
    for made in files.values():
        if isinstance(made, dict) and not any(made.get(name) == wanted[name] for name in ("source", "source_sha256")):
            raise ConfigError(
                f"{folder}: has the stems of another song, {made.get('source')}: choose another folder (--out), or "
                "replace them (--force)"
            )
    for file in targets:
        if not file.exists():
            continue
        if file.name not in files:
            raise ConfigError(f"{file}: is there already and was not made here: move it, or replace it (--force)")
        made = files[file.name]
        if isinstance(made, dict) and made["source_sha256"] == wanted["source_sha256"] and not _alike(made, wanted):
            how = f"was made otherwise, by {made.get('model')}"
            raise ConfigError(f"{file}: {how}: choose another folder (--out), or replace it (--force)")


def _blocks(samples: NDArray[np.float32], weights: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
    for at in range(0, samples.shape[1], _BLOCK_SAMPLES):
        yield weights @ samples[:, at : at + _BLOCK_SAMPLES]


def _highpassed(
    blocks: Iterator[NDArray[np.float32]], rate_hz: int, highpass_hz: float
) -> Iterator[NDArray[np.float32]]:
    from scipy.signal import butter, sosfilt

    sections = butter(4, highpass_hz, "highpass", fs=rate_hz, output="sos")
    state = np.zeros((sections.shape[0], 2, 2))
    for block in blocks:
        filtered, state = sosfilt(sections, block, axis=1, zi=state)
        yield filtered.astype(np.float32)


def _resampled(
    blocks: Iterator[NDArray[np.float32]], from_hz: int, to_hz: int, total: int | None
) -> Iterator[NDArray[np.float32]]:
    """Resample a stream of (channels, n), to `total` samples where a number is named."""
    given = 0
    channels = 0
    for block in blocks if from_hz == to_hz else _streamed(blocks, StreamResampler(from_hz, to_hz)):
        channels = block.shape[0]
        kept = block if total is None else block[:, : total - given]
        given += kept.shape[1]
        if kept.shape[1]:
            yield kept
    if total is not None and given < total and channels:
        yield np.zeros((channels, total - given), np.float32)


def _streamed(blocks: Iterator[NDArray[np.float32]], resampler: StreamResampler) -> Iterator[NDArray[np.float32]]:
    for block in blocks:
        yield resampler.push(block)
    yield resampler.end()
