"""Programs that find beats and onsets, ours and well-known ones, each run by itself to measure its time and memory."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backbeat.errors import ConfigError
from backbeat.music import Beats, Onsets

#: In the order of tables; all but the first two only where they are installed.
PROGRAMS: tuple[str, ...] = ("backbeat", "librosa", "essentia", "aubio")

#: What a program can be asked for. "analysis" is everything that Backbeat says of a recording.
KINDS: tuple[str, ...] = ("beat", "onset", "analysis")

Hearing = Callable[[Path], Any]


@dataclass(frozen=True)
class Heard:
    """What a program said of some recordings, and what it took.

    Parameters
    ----------
    answers
        One for each recording: Beats, or a pair of all onsets and the drum hits (None for a program without).
    seconds
        Of each recording, decoding included; loading the program and a first run are not.
    peak_bytes
        Most memory that its process held.
    """

    answers: tuple[Any, ...]
    seconds: tuple[float, ...]
    peak_bytes: int


def installed() -> dict[str, str]:
    """Return the programs that are there, with their versions."""
    return {name: version(name) for name in PROGRAMS if find_spec(name) is not None}


def hear(program: str, kind: str, paths: Sequence[Path], models: Path, threads: int) -> Heard:
    """Run a program over recordings, in a process of its own.

    Parameters
    ----------
    program, kind
        One of `PROGRAMS` and of `KINDS`.
    paths
        The recordings.
    models
        The folder of our model folders.
    threads
        Processor threads, for programs that take a number.

    Raises
    ------
    ConfigError
        If the program has no such kind.
    AudioError
        If a recording cannot be heard.
    """
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_hear, program, kind, tuple(paths), models, threads).result()


def _hear(program: str, kind: str, paths: tuple[Path, ...], models: Path, threads: int) -> Heard:
    opened = _OPENERS.get((program, kind))
    if opened is None:
        raise ConfigError(f"{program} has nothing to say of {kind}")
    run = opened(models, threads)
    if paths:
        run(paths[0])  # what is compiled or loaded on first use
    answers, seconds = [], []
    for path in paths:
        begin = time.perf_counter()
        answers.append(run(path))
        seconds.append(time.perf_counter() - begin)
    return Heard(tuple(answers), tuple(seconds), _peak_bytes())


def _peak_bytes() -> int:
    """Return the most memory that this process has held."""
    status = Path("/proc/self/status")
    if status.is_file():
        # Not getrusage, which on Linux also counts what the parent held when it started this process.
        lines = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
        return int(lines["VmHWM"].split()[0]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _mono(path: Path, rate_hz: int) -> NDArray[np.float32]:
    from backbeat.audio import decode

    return decode(path, sample_rate_hz=rate_hz, mono=True, allow_silence=True).mono


def _our_beats(models: Path, threads: int) -> Hearing:
    import torch

    from backbeat.beat.tracker import BeatTracker
    from backbeat.features import LogMel, log_mel

    torch.set_num_threads(threads)
    tracker = BeatTracker.from_folder(models / "beat")
    front_end = LogMel(tracker.spec.features)
    return lambda path: tracker.track(log_mel(_mono(path, front_end.params.sample_rate_hz), front_end))


def _our_onsets(models: Path, threads: int) -> Hearing:
    import torch

    from backbeat.features import LogMel, log_mel
    from backbeat.onset.detector import OnsetDetector

    torch.set_num_threads(threads)
    detector = OnsetDetector.from_folder(models / "onset")
    front_end = LogMel(detector.spec.features)
    return lambda path: detector.detect(log_mel(_mono(path, front_end.params.sample_rate_hz), front_end))


def _our_analysis(models: Path, threads: int) -> Hearing:
    import torch

    from backbeat.analysis import Analyzer

    torch.set_num_threads(max(1, threads // 2))  # `Analyzer` has two threads of its own
    analyzer = Analyzer.load({task: models / task for task in ("beat", "onset", "genre")})

    def run(path: Path) -> None:
        analyzer.analyze(path)

    return run


def _librosa_beats(models: Path, threads: int) -> Hearing:
    from backbeat.evaluation.baseline import RATE_HZ, librosa_beats

    return lambda path: librosa_beats(_mono(path, RATE_HZ), RATE_HZ)


def _librosa_onsets(models: Path, threads: int) -> Hearing:
    from backbeat.evaluation.baseline import RATE_HZ, librosa_onsets

    return lambda path: (librosa_onsets(_mono(path, RATE_HZ), RATE_HZ), None)


def _sorted_times(times_s: Any) -> NDArray[np.float64]:
    found = np.unique(np.asarray(times_s, dtype=np.float64))
    return found[found >= 0]


def _essentia_beats(models: Path, threads: int) -> Hearing:
    import essentia.standard

    # Degara et al., "Reliability-informed beat tracking of musical signals", 2012. Algorithms keep state: a new one
    # for each recording.
    def run(path: Path) -> Beats:
        extract = essentia.standard.RhythmExtractor2013(method="multifeature")
        return Beats(_sorted_times(extract(_mono(path, 44100))[1]))

    return run


def _essentia_onsets(models: Path, threads: int) -> Hearing:
    import essentia.standard

    def run(path: Path) -> tuple[Onsets, None]:
        return Onsets(_sorted_times(essentia.standard.OnsetRate()(_mono(path, 44100))[0])), None

    return run


def _aubio_events(make: Callable[[Any], Any], path: Path) -> NDArray[np.float64]:
    import aubio

    samples, detector, hop = _mono(path, 44100), make(aubio), 512
    times_s = []
    for start in range(0, samples.size, hop):
        frame = np.zeros(hop, dtype=np.float32)
        frame[: samples[start : start + hop].size] = samples[start : start + hop]
        if detector(frame)[0]:
            times_s.append(detector.get_last_s())
    return _sorted_times(times_s)


def _aubio_beats(models: Path, threads: int) -> Hearing:
    return lambda path: Beats(_aubio_events(lambda aubio: aubio.tempo("default", 1024, 512, 44100), path))


def _aubio_onsets(models: Path, threads: int) -> Hearing:
    return lambda path: (Onsets(_aubio_events(lambda aubio: aubio.onset("default", 1024, 512, 44100), path)), None)


_OPENERS: dict[tuple[str, str], Callable[[Path, int], Hearing]] = {
    ("backbeat", "beat"): _our_beats,
    ("backbeat", "onset"): _our_onsets,
    ("backbeat", "analysis"): _our_analysis,
    ("librosa", "beat"): _librosa_beats,
    ("librosa", "onset"): _librosa_onsets,
    ("essentia", "beat"): _essentia_beats,
    ("essentia", "onset"): _essentia_onsets,
    ("aubio", "beat"): _aubio_beats,
    ("aubio", "onset"): _aubio_onsets,
}
