"""Sample kits from folders: an `.sfz` map, or one folder of audio files a drum.

The SFZ opcodes that matter to a drum kit are read (https://sfzformat.com): `sample`, `key`/`lokey`/`hikey`, `lovel`/
`hivel`, `volume`, `tune`, `transpose`, `amp_veltrack`, `default_path`, `offset`, `#define` and `#include`. Round
robins, whether by `lorand` or by `seq_position`, become hits that stand in for one another. Hi-hats choke one another
however the map says it (`kits.strike`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path, PurePosixPath

import numpy as np

from backbeat.corpus.rendered.kits import SYNTHESIS_RATE_HZ, Hit, Layer, SampledKit, Samples
from backbeat.errors import CorpusError
from backbeat.music import GENERAL_MIDI_DRUMS

#: Words in the names of samples, tried in this order, and the General MIDI notes that they mean.
_WORDS: tuple[tuple[str, tuple[int, ...]], ...] = (
    (r"snare_?rest|sympathetic|room_?tone|noise_?floor", ()),
    (r"side_?stick|cross_?stick|rim_?shot|rim", (37,)),
    (r"clap", (39,)),
    (r"kick|k_?drum|bass_?drum|(^|[^a-z])(bd|kd)", (36, 35)),
    (r"snare|(^|[^a-z])sd", (38, 40)),
    (r"(hi_?hat|hh|hat).*(ped|foot|chick)|(ped|foot).*(hi_?hat|hh|hat)", (44,)),
    (r"(hi_?hat|hh|hat).*op|op(en)?_?(hi_?hat|hh|hat)|(^|[^a-z])ohh?", (46, 26)),
    (r"hi_?hat|hh|hat", (42, 22)),
    (r"china", (52,)),
    (r"splash", (55,)),
    (r"crash", (49, 57)),
    (r"ride.*bell|bell.*ride|ride_?cup", (53,)),
    (r"ride", (51, 59)),
    (r"tom_?hi|hi(gh)?_?tom|rack_?tom_?1", (48, 50)),
    (r"tom_?mid|mid_?tom", (45, 47)),
    (r"tom_?(lo|fl)|(low?|floor)_?tom", (43, 41, 58)),
    (r"cow_?bell", (56,)),
    (r"tambourine", (54,)),
    (r"shaker|maraca", (70,)),
)
_TOM_NUMBER = re.compile(r"tom_?(\d+)")
_TOMS: tuple[tuple[int, ...], ...] = ((48, 50), (45, 47), (43, 41, 58))
_AUDIO = frozenset({".wav", ".flac", ".ogg", ".aif", ".aiff", ".mp3"})
_OPCODE = re.compile(r"(\w+)=(.*?)(?=\s+\w+=|\s*<|\s*$)", re.MULTILINE)
_NOTE_NAME = re.compile(r"^([a-g])([#b]?)(-?\d+)$")


@lru_cache(maxsize=8)
def load_kit(folder: Path) -> SampledKit:
    """Load the sample kit in `folder`; kept in memory, so that every track of a process shares it.

    Parameters
    ----------
    folder
        It holds one `.sfz` file, or folders named after drums (`kick`, `snare`, `hihat_closed`, ...) with audio files.

    Raises
    ------
    CorpusError
        If it holds neither, or names samples that are not there or cannot be read.
    """
    if not folder.is_dir():
        raise CorpusError(f"{folder}: no such folder of drum samples")
    maps = sorted(folder.glob("*.sfz"))
    if len(maps) > 1:
        raise CorpusError(f"{folder}: {len(maps)} .sfz maps; leave one in the folder")
    drums = _from_sfz(maps[0]) if maps else _from_folders(folder)
    if not drums:
        raise CorpusError(f"{folder}: no drum samples found; it needs an .sfz map or folders such as kick/ and snare/")
    return SampledKit(folder.name, drums, velocity_gain=0.0 if maps else 1.0)


def drum_notes(name: str) -> tuple[int, ...] | None:
    """Return the General MIDI notes that the name of a sample or folder means; None where it says nothing.

    An empty tuple means that the sample is no stroke at all. Numbered toms are left to `load_kit`, which sees all.
    """
    text = re.sub(r"[\s\-.]+", "_", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name)).lower()
    for pattern, notes in _WORDS:
        if re.search(pattern, text):
            return notes
    return None


def _read_samples(path: Path, offset: int = 0) -> Samples:
    """Read a one-shot as mono float32 at `SYNTHESIS_RATE_HZ`, shape (samples,)."""
    import soundfile
    import soxr

    try:
        samples, rate_hz = soundfile.read(path, dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, OSError) as error:
        raise CorpusError(f"{path}: cannot be read as audio ({error})") from None
    mono = samples[offset:].mean(axis=1)
    if rate_hz != SYNTHESIS_RATE_HZ:
        mono = soxr.resample(mono, rate_hz, SYNTHESIS_RATE_HZ)
    if mono.size == 0 or not np.all(np.isfinite(mono)):
        raise CorpusError(f"{path}: an empty or damaged drum sample")
    return np.asarray(mono, dtype=np.float32)


def _level(hits: tuple[Hit, ...]) -> float:
    return float(np.mean([np.abs(hit.samples).max() for hit in hits]))


def _from_folders(folder: Path) -> dict[int, tuple[Layer, ...]]:
    drums: dict[int, tuple[Layer, ...]] = {}
    for child in sorted(path for path in folder.iterdir() if path.is_dir()):
        files = sorted(path for path in child.iterdir() if path.suffix.lower() in _AUDIO)
        notes = [note for note, name in GENERAL_MIDI_DRUMS.items() if name == child.name] or drum_notes(child.name)
        if not files or not notes:
            continue
        hits = tuple(Hit.measured(_read_samples(path)) for path in files)
        for note in notes:
            drums[note] = (Layer(127, hits),)
    return drums


def _sfz_text(path: Path, depth: int = 0) -> str:
    """Return the text of an .sfz file without comments, with `#include` and `#define` carried out."""
    if depth > 8:
        raise CorpusError(f"{path}: its #include lines go round in a circle")
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise CorpusError(f"{path}: cannot be read ({error.strerror})") from None
    text = re.sub(r"/\*.*?\*/", " ", text, flags=re.DOTALL)
    text = re.sub(r"//[^\n]*", "", text)
    text = re.sub(r'#include\s+"([^"]+)"', lambda match: _sfz_text(path.parent / match[1], depth + 1), text)
    for name, value in re.findall(r"#define\s+(\$\w+)\s+(\S+)", text):
        text = text.replace(name, value)
    return re.sub(r"#define[^\n]*", "", text)


def _regions(text: str) -> Iterator[dict[str, str]]:
    """Yield the opcodes of each region, with what it inherits from its control, global, master and group."""
    order = ("control", "global", "master", "group", "region")
    levels: dict[str, dict[str, str]] = {name: {} for name in order}
    for name, body in re.findall(r"<(\w+)>([^<]*)", text):
        if name not in levels:
            continue
        levels[name] = {key: value.strip() for key, value in _OPCODE.findall(body)}
        for inner in order[max(order.index(name), 1) + 1 :]:
            levels[inner] = {}
        if name == "region":
            yield {key: value for level in order for key, value in levels[level].items()}


def _midi_note(word: str, path: Path) -> int:
    match = _NOTE_NAME.match(word.lower())
    if match:
        step = {"c": 0, "d": 2, "e": 4, "f": 5, "g": 7, "a": 9, "b": 11}[match[1]]
        return step + {"": 0, "#": 1, "b": -1}[match[2]] + 12 * (int(match[3]) + 1)
    return int(_opcode_number(word, path))


def _opcode_number(word: str, path: Path) -> float:
    try:
        return float(word)
    except ValueError:
        raise CorpusError(f"{path}: {word!r} is not a number") from None


def _find_sample(map_path: Path, region: dict[str, str]) -> Path:
    """Return where the sample of a region lies, also when the folders above it were dropped in packing."""
    name = PurePosixPath((region.get("default_path", "") + region["sample"]).replace("\\", "/"))
    for skipped in range(len(name.parts)):
        path = map_path.parent.joinpath(*name.parts[skipped:])
        if path.is_file():
            return path
    raise CorpusError(f"{map_path}: sample {name} is not there")


def _from_sfz(path: Path) -> dict[int, tuple[Layer, ...]]:
    # key -> top velocity -> hits, then the keys are given their General MIDI notes by what their samples are called.
    by_key: dict[int, dict[int, list[tuple[Path, float, int]]]] = {}
    for region in _regions(_sfz_text(path)):
        if "sample" not in region or region["sample"].startswith("*"):
            continue
        low = _midi_note(region.get("key", region.get("lokey", "0")), path)
        high = _midi_note(region.get("key", region.get("hikey", str(low))), path)
        top = int(_opcode_number(region.get("hivel", "127"), path))
        volume_db = _opcode_number(region.get("volume", "0"), path)
        offset = int(_opcode_number(region.get("offset", "0"), path))
        sample = _find_sample(path, region)
        for key in range(low, min(high, 127) + 1):
            by_key.setdefault(key, {}).setdefault(top, []).append((sample, volume_db, offset))
    hits: dict[tuple[Path, float, int], Hit] = {}
    samples = {key: next(iter(layers.values()))[0][0] for key, layers in by_key.items()}
    drums: dict[int, tuple[Layer, ...]] = {}
    for key, notes in _assign_notes(samples).items():
        layers = []
        for top, wanted in sorted(by_key[key].items()):
            for take in wanted:
                if take not in hits:
                    recorded, volume_db, offset = take
                    gain = np.float32(10 ** (volume_db / 20))
                    hits[take] = Hit.measured(_read_samples(recorded, offset) * gain)
            layers.append(Layer(top, tuple(hits[take] for take in wanted)))
        for note in notes:
            drums.setdefault(note, tuple(layers))
    if not drums:
        return {}
    loudest = max(_level(layers[-1].hits) for layers in drums.values())
    scale = np.float32(0.9 / max(loudest, 1e-6))
    scaled = {id(hit): Hit(hit.samples * scale, hit.attack) for hit in hits.values()}
    return {
        note: tuple(Layer(layer.top_velocity, tuple(scaled[id(hit)] for hit in layer.hits)) for layer in layers)
        for note, layers in drums.items()
    }


def _assign_notes(samples: dict[int, Path]) -> dict[int, tuple[int, ...]]:
    """Give each key of a map its General MIDI notes.

    By the name of its first sample, then of the sample's folder; the key itself where both say nothing. Toms that are
    only numbered are spread from high to low.
    """
    numbers = {key: int(match[1]) for key, path in samples.items() if (match := _TOM_NUMBER.search(path.stem.lower()))}
    ranks = sorted(set(numbers.values()))
    assigned: dict[int, tuple[int, ...]] = {}
    for key, path in sorted(samples.items()):
        notes = drum_notes(path.stem)
        if notes is None and key in numbers:
            notes = _TOMS[ranks.index(numbers[key]) * len(_TOMS) // len(ranks)]
        if notes is None:
            notes = drum_notes(path.parent.name)
        assigned[key] = (key,) if notes is None else notes
    return assigned
