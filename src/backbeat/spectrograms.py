"""The spectrograms of a whole corpus, for training."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from backbeat.audio import decode
from backbeat.errors import CorpusError
from backbeat.features import FeatureParams, LogMel, log_mel
from backbeat.files import sha256_file


def spectrograms(
    corpus: Path, lines: list[dict[str, str]], params: FeatureParams, *, progress: bool = True
) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Give each track's id and spectrogram; CorpusError when the audio is not what the list says."""
    front_end = LogMel(params)
    for line in track(lines, description=f"features of {corpus.name}", disable=not progress):
        path = corpus / line["path"]
        if not path.is_file():
            raise CorpusError(f"{path}: is missing; `dvc pull` or `dvc repro` brings it")
        if line["sha256"] and sha256_file(path) != line["sha256"]:
            raise CorpusError(f"{path}: is not the audio that was validated; run `dvc repro` again")
        audio = decode(path, sample_rate_hz=params.sample_rate_hz, mono=True, allow_silence=True)
        yield line["id"], log_mel(audio.mono, front_end)
