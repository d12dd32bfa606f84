"""Is a recording found again by ten seconds of it, and nothing else by anything? Measured on rendered music.

`python benchmarks/fingerprint.py FOLDER` renders tracks from seeds into FOLDER (once: they and their fingerprints are
kept there), indexes 1,000 of them and asks by ten seconds of each from a random moment, as stereo MP3 of 96 kbit/s. It
also asks by ten seconds of 500 tracks that are not in the index, from another seed of the same renderer, so of the same
instruments, kits and styles; a match of any of them is false, as is a match with another track than the one asked by.

`--real FOLDER` asks by excerpts of all audio files under a folder too: none may be found, until they are added.
`--changed 60` asks by the excerpts of so many tracks at other rates, levels and speeds, with noise, shorter, in worse
codecs. `--large 10000` measures an index of so many tracks of four minutes, made by shuffling the peaks of those
rendered. `--seeds 7101 7102` takes other tracks: the limits of a match were chosen on these, and what is reported was
measured on the default ones.
"""

from __future__ import annotations

import os
import resource
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

import backbeat.audio.fingerprint as package
from backbeat.audio import decode
from backbeat.audio.fingerprint import FingerprintIndex, fingerprint
from backbeat.audio.fingerprint.coding import from_bytes, to_bytes
from backbeat.audio.fingerprint.index import LEAST_MATCHED, LEAST_S, LEAST_SCORE, SPEEDS
from backbeat.audio.fingerprint.peaks import FRAMES_PER_S, Peaks
from backbeat.audio.mixing import resample
from backbeat.audio.roundtrip import codec_roundtrip
from backbeat.corpus.contract import read_corpus
from backbeat.corpus.rendered.render import AudioFormat, RenderedParams, render_corpus
from backbeat.errors import AudioError
from backbeat.files import atomic_path
from backbeat.statistics import proportion_interval

EXCERPT_S = 10.0
MP3_BPS = 96_000
LARGE_S = 240.0
SUFFIXES = (".wav", ".flac", ".ogg", ".mp3", ".m4a", ".opus")
Samples = NDArray[np.float32]
#: From a stereo excerpt, its rate and what draws, to a mono one and its rate.
Change = Callable[[Samples, int, np.random.Generator], tuple[Samples, int]]


def mixed(samples: Samples) -> Samples:
    """Return the mean of the channels."""
    mean: Samples = samples.mean(axis=0, dtype=np.float32)
    return mean


def coded(codec: str, bps: int) -> Change:
    """Return the excerpt through a lossy codec."""
    return lambda samples, rate, _: (mixed(codec_roundtrip(samples, rate, codec, bps)), rate)  # type: ignore[arg-type]


def at_rate(to_hz: int) -> Change:
    """Return the excerpt at another sampling rate."""
    return lambda samples, rate, _: (resample(mixed(samples)[np.newaxis], rate, to_hz)[0], to_hz)


def at_speed(factor: float) -> Change:
    """Return the excerpt played faster, as a tape is: higher too."""
    return lambda samples, rate, _: (mixed(samples), round(rate * factor))


def with_noise(snr_db: float) -> Change:
    """Return the excerpt with white noise."""

    def change(samples: Samples, rate: int, random: np.random.Generator) -> tuple[Samples, int]:
        mono = mixed(samples)
        rms = float(np.sqrt(np.mean(mono**2, dtype=np.float64)))
        return mono + random.normal(0, rms * 10 ** (-snr_db / 20), mono.size).astype(np.float32), rate

    return change


def at_level(gain_db: float) -> Change:
    """Return the excerpt at another level, in 16 bits; what is too loud is clipped."""

    def change(samples: Samples, rate: int, _: np.random.Generator) -> tuple[Samples, int]:
        louder = np.clip(mixed(samples) * 10 ** (gain_db / 20), -1, 1)
        return (np.round(louder * 32767) / 32767).astype(np.float32), rate

    return change


def first_seconds(seconds: float) -> Change:
    """Return the beginning of the excerpt."""
    return lambda samples, rate, _: (mixed(samples[:, : round(seconds * rate)]), rate)


PLAIN = "MP3 96 kbit/s, stereo"
CHANGES: Mapping[str, Change] = {
    "as it is": lambda samples, rate, _: (mixed(samples), rate),
    "MP3 96 kbit/s, mono": lambda samples, rate, _: (
        codec_roundtrip(mixed(samples)[np.newaxis], rate, "mp3", MP3_BPS)[0],
        rate,
    ),
    "MP3 64 kbit/s, stereo": coded("mp3", 64_000),
    "Opus 32 kbit/s, stereo": coded("opus", 32_000),
    "22.05 kHz": at_rate(22050),
    "48 kHz": at_rate(48000),
    "left channel alone": lambda samples, rate, _: (samples[0], rate),
    "30 dB quieter": at_level(-30),
    "6 dB louder, clipped": at_level(6),
    "noise 20 dB below": with_noise(20),
    "noise 10 dB below": with_noise(10),
    "noise as loud": with_noise(0),
    "0.5 % faster": at_speed(1.005),
    "1 % faster": at_speed(1.01),
    "1 % slower": at_speed(0.99),
    "2 % faster": at_speed(1.02),
    "5 s of it": first_seconds(5),
    "3 s of it": first_seconds(3),
}


@dataclass(frozen=True)
class Job:
    """One file to fingerprint whole and to ask by; `kept` is where the results are kept between runs."""

    path: Path
    seed: int
    changes: tuple[str, ...]
    kept: Path


@dataclass(frozen=True)
class Asked:
    """A file's fingerprint, where its excerpt begins, and the fingerprint of that by what was done to it."""

    id: str
    whole: bytes
    start_s: float
    excerpts: Mapping[str, bytes]


def asked(job: Job) -> Asked | None:
    """Fingerprint a file and its excerpt, or read what an earlier run kept; None where there is nothing to hear."""
    if not job.kept.is_file():
        try:
            audio = decode(job.path)
        except AudioError:
            return None
        samples, rate = audio.samples[:2], audio.sample_rate_hz
        random = np.random.default_rng(job.seed)
        length = min(samples.shape[1], round(EXCERPT_S * rate))
        start = int(random.integers(0, samples.shape[1] - length + 1))
        excerpt = samples[:, start : start + length]
        changes = {PLAIN: coded("mp3", MP3_BPS), **CHANGES}
        made = {name: fingerprint(*changes[name](excerpt, rate, random)) for name in (PLAIN, *job.changes)}
        arrays = {name: np.frombuffer(data, np.uint8) for name, data in made.items()}
        whole = np.frombuffer(fingerprint(mixed(samples), rate), np.uint8)
        with atomic_path(job.kept) as temporary, temporary.open("wb") as stream:
            np.savez(stream, whole=whole, start_s=start / rate, **arrays)
    with np.load(job.kept) as kept:
        excerpts = {name: kept[name].tobytes() for name in kept.files if name not in ("whole", "start_s")}
        return Asked(job.kept.stem, kept["whole"].tobytes(), float(kept["start_s"]), excerpts)


def all_asked(jobs: Sequence[Job], workers: int) -> list[Asked]:
    """Return what there is to ask by of many files."""
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        return [one for one in pool.map(asked, jobs, chunksize=4) if one is not None]


def code_mark() -> str:
    """Return a name for the code that makes fingerprints, and for what is done to excerpts here."""
    files = [Path(package.__file__).with_name(name) for name in ("peaks.py", "coding.py")]
    return sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:12]


def rendered(folder: Path, seed: int, tracks: int, seconds: float) -> list[Path]:
    """Return the audio of the tracks of a seed, rendered where it is not there yet."""
    root = folder / f"seed-{seed}-{seconds:g}s"
    if not root.is_dir() or len(read_corpus(root).tracks) < tracks:
        params = RenderedParams(seed=seed, tracks=tracks, duration_s=seconds, audio=AudioFormat(channels=2))
        render_corpus(root, params)
    corpus = read_corpus(root)
    return [root / track.path for track in sorted(corpus.tracks, key=lambda one: one.id.rpartition("-")[2])[:tracks]]


def jobs_of(folder: Path, paths: Sequence[Path], name: str, changed: int) -> list[Job]:
    """Return jobs for files, of which the first `changed` are asked by in all ways."""
    jobs = []
    for number, path in enumerate(paths):
        changes = tuple(CHANGES) if number < changed else ()
        kept = folder / "prints" / code_mark() / name / f"{number:05d}-{path.stem}-{len(changes)}.npz"
        jobs.append(Job(path, number, changes, kept))
    return jobs


@dataclass(frozen=True)
class Answer:
    """What an index answers: of the right track and of the best wrong one score, peaks matched and seconds that agree.

    `found`: the right track came first; `false`: anything wrong was answered at all; `false_without`: anything would be
    answered were the right track not in the index; `off_s`: by how much the offset is wrong.
    """

    found: bool
    false: bool
    false_without: bool
    right: tuple[float, int, float]
    wrong: tuple[float, int, float]
    off_s: float
    taken_s: float


def answer(index: FingerprintIndex, excerpt: bytes, right: str, start_s: float) -> Answer:
    """Ask an index, within its limits and, to see how far from them all recordings are, without."""
    begun = time.perf_counter()
    matches = index.find(excerpt)
    taken_s = time.perf_counter() - begun
    everything = [
        match
        for speed in SPEEDS
        for match in index.find(excerpt, least=0.0, least_matched=1, least_s=0.0, speeds=(speed,))
    ]
    own = max((match for match in everything if match.id == right), key=lambda match: match.matched, default=None)
    other = [(match.score, match.matched, match.overlap_s) for match in everything if match.id != right]
    limits = (LEAST_SCORE, LEAST_MATCHED, LEAST_S)
    return Answer(
        found=bool(matches) and matches[0].id == right,
        false=any(match.id != right for match in matches),
        false_without=any(all(value >= limit for value, limit in zip(found, limits, strict=True)) for found in other),
        right=(0.0, 0, 0.0) if own is None else (own.score, own.matched, own.overlap_s),
        wrong=max(other, key=lambda one: one[1], default=(0.0, 0, 0.0)),
        off_s=float("nan") if own is None else abs(own.offset_s - start_s),
        taken_s=taken_s,
    )


def share(flags: Sequence[bool]) -> str:
    """Return a share with its counts and Wilson's interval of 95 %."""
    interval = proportion_interval(flags)
    return (
        f"{100 * interval.value:6.2f} % [{100 * interval.low:.2f}, {100 * interval.high:.2f}] {sum(flags)}/{len(flags)}"
    )


def upper_limit(flags: Sequence[bool]) -> str:
    """Return how many there are, and the upper limit of their share that 95 % confidence leaves (Clopper-Pearson)."""
    from scipy.stats import binomtest

    limit = binomtest(sum(flags), len(flags), alternative="less").proportion_ci(0.95, method="exact").high
    return f"{sum(flags)} of {len(flags)} (below {100 * limit:.2f} %)"


def spread(values: Sequence[float], digits: int) -> str:
    """Return least, 1st percentile, median, 99th percentile and greatest."""
    return "  ".join(f"{value:.{digits}f}" for value in np.percentile(values, [0, 1, 50, 99, 100]))


def shuffled(prints: Sequence[bytes], tracks: int, seconds: float, seed: int) -> Iterator[tuple[str, bytes]]:
    """Make long tracks of short ones' peaks: pieces in random order, much slower or faster, higher or lower."""
    peaks = [from_bytes(data) for data in prints]
    for track in range(tracks):
        random = np.random.default_rng([seed, track])
        frames, bins, begin = [], [], 0.0
        while begin < seconds * FRAMES_PER_S:
            piece = peaks[int(random.integers(len(peaks)))]
            # Never about as fast as the piece itself, which it would rightly be found by.
            pace = random.uniform(0.8, 0.93) if random.random() < 0.5 else random.uniform(1.07, 1.25)
            height = random.uniform(0.8, 1.05)
            inside = piece.bins * height > 24
            frames.append(begin + piece.frames[inside] * pace)
            bins.append(piece.bins[inside] * height)
            begin += piece.duration_frames * pace
        yield f"large-{track:06d}", to_bytes(Peaks(np.concatenate(frames), np.concatenate(bins), begin))


def answers_of(index: FingerprintIndex, asked_by: Sequence[Asked], change: str = PLAIN) -> list[Answer]:
    """Ask an index by an excerpt of each, which may or may not be in it."""
    return [answer(index, one.excerpts[change], one.id, one.start_s) for one in asked_by]


def found_table(rows: Mapping[str, tuple[Sequence[bool] | None, Sequence[bool]]], title: str) -> Table:
    """Return a table of shares found, where anything is to be found, and of false answers."""
    table = Table("asked by ten seconds of", "found", "false", title=title)
    for name, (found, false) in rows.items():
        table.add_row(name, "" if found is None else share(found), upper_limit(false))
    return table


def margins_table(rights: Sequence[Answer], everyone: Sequence[Answer]) -> Table:
    """Return how far right and wrong recordings are from each other."""
    table = Table("least, 1 %, median, 99 %, most", "score", "peaks matched", "seconds agreed", "offset error, ms")
    off_ms = [1000 * one.off_s for one in rights if not np.isnan(one.off_s)]
    for name, found, off in (
        ("right track", [one.right for one in rights], spread(off_ms, 1)),
        ("best wrong track", [one.wrong for one in everyone], ""),
    ):
        columns = [spread([one[column] for one in found], digits) for column, digits in ((0, 3), (1, 0), (2, 1))]
        table.add_row(name, *columns, off)
    return table


def changes_table(index: FingerprintIndex, known: Sequence[Asked], others: Sequence[Asked]) -> Table:
    """Return what is found of excerpts that were changed, and what is found falsely."""
    table = Table("excerpt", "found", "false", "right score: least, 1 %, median, 99 %, most", title="Changed excerpts")
    for name in CHANGES:
        rights, wrongs = answers_of(index, known, name), answers_of(index, others, name)
        false = [one.false for one in rights + wrongs]
        score = spread([one.right[0] for one in rights], 3)
        table.add_row(name, share([one.found for one in rights]), upper_limit(false), score)
    return table


def times_text(answers: Sequence[Answer]) -> str:
    """Return how long questions take."""
    taken_ms = [1000 * one.taken_s for one in answers]
    return f"p50 {np.median(taken_ms):.1f} ms, p95 {np.percentile(taken_ms, 95):.1f} ms"


def measure(
    known: Sequence[Asked], others: Sequence[Asked], strange: Sequence[Asked], changed: int, console: Console
) -> None:
    """Index what is known, ask by all, and print what comes out."""
    with tempfile.TemporaryDirectory() as temporary:
        begun = time.perf_counter()
        index = FingerprintIndex.build(Path(temporary) / "index", [(one.id, one.whole) for one in known])
        built_s = time.perf_counter() - begun
        index.find(known[0].excerpts[PLAIN])  # compiles
        size = sum(path.stat().st_size for path in index.folder.iterdir())
        hours = sum(from_bytes(one.whole).duration_s for one in known) / 3600
        rights, wrongs, reals = (answers_of(index, asked_by) for asked_by in (known, others, strange))
        rows: dict[str, tuple[Sequence[bool] | None, Sequence[bool]]] = {
            "a track of the index": ([one.found for one in rights], [one.false for one in rights]),
            "the same, taken out of it": (None, [one.false_without for one in rights]),
            "a track of another seed": (None, [one.false for one in wrongs]),
        }
        if reals:
            index.add((one.id, one.whole) for one in strange)
            added = answers_of(index, strange)
            index.remove(one.id for one in strange)
            rows["a real recording"] = (None, [one.false for one in reals])
            rows["the same, added to it"] = ([one.found for one in added], [one.false for one in added])
        console.print(found_table(rows, f"{len(known)} tracks, {PLAIN}"))
        console.print(margins_table(rights, rights + wrongs + reals))
        console.print(f"query in the index: {times_text(rights)}; not in it: {times_text(wrongs)}")
        console.print(f"built in {built_s:.1f} s; {size / 1e6 / hours:.2f} MB an hour of music ({hours:.1f} h)")
        if changed:
            console.print(changes_table(index, known[:changed], others[:changed]))


def large(tracks: int, known: Sequence[Asked], console: Console) -> None:
    """Measure an index of many tracks of four minutes, and whether the excerpts find theirs among them."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "index"
        begun = time.perf_counter()
        index = FingerprintIndex.build(folder, shuffled([one.whole for one in known], tracks, LARGE_S, 1))
        built_s = time.perf_counter() - begun
        begun = time.perf_counter()
        index.add((one.id, one.whole) for one in known)
        added_s = time.perf_counter() - begun
        begun = time.perf_counter()
        index = FingerprintIndex.open(folder)
        opened_s = time.perf_counter() - begun
        answers = answers_of(index, known[:200])
        begun = time.perf_counter()
        pairs = index.duplicates(f"large-{number:06d}" for number in range(50))
        duplicate_s = (time.perf_counter() - begun) / 50
        size = sum(path.stat().st_size for path in folder.iterdir())
        hours = (tracks * LARGE_S + sum(from_bytes(one.whole).duration_s for one in known)) / 3600
        console.print(f"{tracks} tracks of {LARGE_S:.0f} s ({hours:.0f} h) beside {len(known)} rendered ones:")
        console.print(f"  built in {built_s:.0f} s, {len(known)} added in {added_s:.1f} s, opened in {opened_s:.2f} s")
        console.print(f"  {size / 1e9:.2f} GB on disk, peak memory {peak_gb():.2f} GB")
        console.print(f"  found {share([one.found for one in answers])}, wrong {sum(one.false for one in answers)}")
        console.print(f"  query {times_text(answers)}")
        console.print(f"  duplicates of one track {1000 * duplicate_s:.1f} ms, {len(pairs)} pairs among 50")


def peak_gb() -> float:
    """Return the most memory that this process has held, without files mapped by others."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def main(
    folder: Annotated[Path, typer.Argument(help="Where rendered tracks and their fingerprints are kept.")],
    tracks: Annotated[int, typer.Option(help="Tracks in the index.")] = 1000,
    unknown: Annotated[int, typer.Option(help="Tracks that are not in it.")] = 500,
    seconds: Annotated[float, typer.Option(help="Length of a track.")] = 20.0,
    seeds: Annotated[tuple[int, int], typer.Option(help="Of those in it and the others.")] = (7201, 7202),
    changed: Annotated[int, typer.Option(help="Tracks that are asked by in all ways.")] = 0,
    real: Annotated[Path | None, typer.Option(help="Audio files that are not in the index.")] = None,
    large_tracks: Annotated[int, typer.Option("--large", help="Tracks of a large index.")] = 0,
    workers: Annotated[int, typer.Option(help="Processes.")] = os.cpu_count() or 1,
) -> None:
    """Measure and print."""
    console = Console(width=160)
    known, others = (
        all_asked(jobs_of(folder, rendered(folder, seed, count, seconds), f"seed-{seed}", changed), workers)
        for seed, count in zip(seeds, (tracks, unknown), strict=True)
    )
    files = [] if real is None else sorted(path for path in real.rglob("*") if path.suffix.lower() in SUFFIXES)
    strange = all_asked(jobs_of(folder, files, "real", 0), workers)
    measure(known, others, strange, changed, console)
    if large_tracks:
        large(large_tracks, known, console)


if __name__ == "__main__":
    typer.run(main)
