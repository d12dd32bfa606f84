"""Stage `features`: the log-mel spectrograms of one corpus."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from backbeat.corpus.contract import read_corpus
from backbeat.dataset import read_lines, write_features
from backbeat.features import FeatureParams
from backbeat.spectrograms import spectrograms
from pipelines.settings import read, stage


@stage
def main(config: DictConfig) -> None:
    name, paths = config.corpus.name, config.paths
    lines = read_lines(Path(paths.labels) / "audio" / f"{name}.jsonl")
    params = read(FeatureParams, config.features)
    root = read_corpus(Path(paths.corpora) / name).root
    write_features(Path(paths.features) / name, params, spectrograms(root, lines, params))


if __name__ == "__main__":
    main()
