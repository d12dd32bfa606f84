"""From the lock of the GPU's image the one for processors: `python serving/image/cpu_lock.py`.

Builds of torch for processors come from torch's own index and have other hashes, and need none of NVIDIA's packages.
"""

from __future__ import annotations

import re
from pathlib import Path

HERE = Path(__file__).parent
_ONLY_GPU = re.compile(r"(nvidia-(?!ml-py)|cuda-|triton==)")
_OWN_INDEX = re.compile(r"(torch|torchaudio)==\S+")


def for_processors(lock: str) -> str:
    """Return the lock without what only a GPU needs, and torch without hashes."""
    kept = []
    for entry in re.split(r"\n(?=\S)", lock.rstrip("\n")):
        if entry.startswith("#") or _ONLY_GPU.match(entry):
            continue
        own = _OWN_INDEX.match(entry)
        kept.append(own[0] if own else re.sub(r"\n    #.*", "", entry))
    head = "# Made of gpu.lock by cpu_lock.py, which says why.\n"
    return head + "\n".join(kept) + "\n"


if __name__ == "__main__":
    (HERE / "cpu.lock").write_text(for_processors((HERE / "gpu.lock").read_text(encoding="utf-8")), encoding="utf-8")
