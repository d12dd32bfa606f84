"""Stage `stems`: the stems of one corpus, decoded at the rate of the separation network."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from backbeat.corpus.contract import read_corpus
from backbeat.dataset import read_lines
from backbeat.errors import ConfigError
from backbeat.separation.stems import write_stems
from pipelines.settings import stage


@stage
def main(config: DictConfig) -> None:
    name, paths = config.corpus.name, config.paths
    if config.task.name != "separation":
        raise ConfigError("stems are decoded for separation: add task=separation")
    lines = read_lines(Path(paths.labels) / "separation" / f"{name}.jsonl")
    root = read_corpus(Path(paths.corpora) / name).root
    write_stems(Path(paths.stems) / name, root, lines, config.task.network.sample_rate_hz)


if __name__ == "__main__":
    main()
