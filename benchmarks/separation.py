"""Separation against Spleeter's own program: seconds and memory, same weights, same audio, in one run.

    make bench-separation SONG=song.mp3

Needs what `make spleeter-reference` makes: the checkpoints (random weights of the real size; speed does not depend on
them) and Spleeter's environment. Each measurement has a process of its own, the programs by turns.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from backbeat.audio import decode
from backbeat.audio.encode import encode
from backbeat.files import write_json

HERE = Path(__file__).parent
RATE_HZ = 44100
SHORT_S = 10.0


def ours(folder: str, samples: str, turns: int) -> None:
    """Print the seconds of each turn and the peak memory, as JSON: the process that is measured."""
    from backbeat.separation.allocator import keep_freed_memory
    from backbeat.separation.store import load_network
    from backbeat.separation.streaming import separate_blocks

    keep_freed_memory()
    waveform = np.load(samples)
    waveform = waveform if waveform.shape[0] == 2 else np.repeat(waveform, 2, axis=0)
    network = load_network(Path(folder))
    blocks = [waveform[:, at : at + RATE_HZ] for at in range(0, waveform.shape[1], RATE_HZ)]
    seconds = []
    for _ in range(turns):
        begun = time.perf_counter()
        for _ in separate_blocks(network, blocks):
            pass
        seconds.append(time.perf_counter() - begun)
    peak_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print("RESULT " + json.dumps({"seconds": seconds, "peak_mib": peak_kib / 1024}))


def measured(command: list[str]) -> dict[str, object]:
    """Run a process; return what it says, and the seconds that it took in all."""
    begun = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    whole_s = time.perf_counter() - begun
    lines = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    if done.returncode or not lines:
        sys.exit(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
    return {**json.loads(lines[-1].removeprefix("RESULT ")), "whole_s": whole_s}


def one_shot(song: Path, kind: str, environment: dict[str, str]) -> float:
    """Return the seconds of the command for one short file."""
    with tempfile.TemporaryDirectory() as out:
        command = [str(Path(sys.executable).with_name("backbeat")), "separate", str(song), "-m", f"spleeter:{kind}"]
        begun = time.perf_counter()
        subprocess.run([*command, "-o", out], check=True, env=environment, stdout=subprocess.DEVNULL)  # noqa: S603
        return time.perf_counter() - begun


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("song", type=Path)
    parser.add_argument("--reference", type=Path, default=Path("build/spleeter"), help="checkpoints")
    parser.add_argument("--spleeter", type=Path, default=Path(".spleeter/bin/python"), help="Spleeter's interpreter")
    parser.add_argument("--stems", type=int, nargs="*", default=[2, 4, 5])
    parser.add_argument("--output", type=Path, default=Path("reports/bench-separation.json"))
    arguments = parser.parse_args()
    from backbeat.files import sha256_file
    from backbeat.separation.store import pull

    found = []
    with tempfile.TemporaryDirectory() as scratch:
        audio = decode(arguments.song, sample_rate_hz=RATE_HZ)
        samples = audio.samples[:2]
        np.save(f"{scratch}/song.npy", samples)
        short = samples[:, : round(SHORT_S * RATE_HZ)]
        np.save(f"{scratch}/short.npy", short)
        encode(Path(scratch) / "short.wav", short, RATE_HZ)
        seconds = samples.shape[1] / RATE_HZ
        environment = {**os.environ, "BACKBEAT_MODELS": f"{scratch}/models"}
        for stems in arguments.stems:
            checkpoint = arguments.reference / f"{stems}stems"
            digest = sha256_file(checkpoint / "model.data-00000-of-00001")
            folder = pull(f"spleeter:{stems}stems", root=Path(scratch) / "models", source=checkpoint, sha256=digest)
            theirs = [str(arguments.spleeter), str(HERE / "spleeter_timing.py"), str(checkpoint / "model"), str(stems)]
            mine = [sys.executable, __file__, "--measure", str(folder)]
            for what, turns in (("song", 3), ("short", 1)):
                told = {"stems": stems, "audio": what, "audio_s": seconds if what == "song" else SHORT_S}
                told["spleeter"] = measured([*theirs, f"{scratch}/{what}.npy", str(turns)])
                told["backbeat"] = measured([*mine, f"{scratch}/{what}.npy", str(turns)])
                found.append(told)
            found[-1]["command_s"] = one_shot(Path(scratch) / "short.wav", f"{stems}stems", environment)
    write_json(arguments.output, found)
    print(
        f"{arguments.song.name}, {seconds:.0f} s; seconds of the quickest warm turn for a second of audio, MiB at most"
    )
    print("stems   Spleeter          backbeat          ratio    10 s file, whole process")
    for song, brief in zip(found[::2], found[1::2], strict=True):
        cells = [
            f"{min(song[name]['seconds']) / seconds:.4f} {song[name]['peak_mib']:6.0f} MiB"
            for name in ("spleeter", "backbeat")
        ]
        ratio = min(song["spleeter"]["seconds"]) / min(song["backbeat"]["seconds"])
        whole = f"{brief['spleeter']['whole_s']:.1f} s and {brief['command_s']:.1f} s"
        print(f"{song['stems']}       {cells[0]} {cells[1]}  {ratio:5.1f}    {whole}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        ours(sys.argv[2], sys.argv[3], int(sys.argv[4]))
    else:
        main()
