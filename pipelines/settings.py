"""From a Hydra configuration to the frozen dataclasses that the code takes; nothing below knows Hydra."""

from __future__ import annotations

import copy
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import hydra
from omegaconf import DictConfig, OmegaConf

from backbeat.errors import BackbeatError, ConfigError
from backbeat.settings import read_settings
from backbeat.training import Places, TrainerSettings

T = TypeVar("T")

# Corpora are folders of that name: it leads nowhere else.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
CONF = str(Path(__file__).resolve().parent.parent / "conf")


def read(cls: type[T], section: DictConfig | dict[str, Any]) -> T:
    """Make `cls`, a dataclass, of a section of the configuration.

    Raises
    ------
    ConfigError
        If the section has an entry that `cls` lacks, lacks one that it needs, or has one of the wrong type.
    """
    values = plain(section) if isinstance(section, DictConfig) else section
    return read_settings(cls, values)


def plain(section: DictConfig) -> dict[str, Any]:
    """Return a section as plain dictionaries and lists, references resolved."""
    values = OmegaConf.to_container(section, resolve=True)
    if not isinstance(values, dict):
        raise ConfigError("the configuration is not a mapping")
    return {str(name): value for name, value in values.items()}


def completed(config: DictConfig) -> DictConfig:
    """Return the configuration with what the experiment says of its kind of corpus and its task put in.

    Files that are parameters of stages refer to nothing: `dvc exp run -S` reads and writes each on its own. So this is
    done here and not by references. What a section has itself goes before what the experiment has.
    """
    if not _NAME.fullmatch(str(config.corpus.name)):
        raise ConfigError(f"corpus.name: {config.corpus.name!r} is no name: letters, digits, '.', '_' and '-'")
    if not isinstance(config.corpus.source, str) or not config.corpus.source:
        raise ConfigError("corpus.source: name the folder that the corpus is made from")
    config = copy.deepcopy(config)
    OmegaConf.set_struct(config, False)
    for section, name in (("corpus", config.corpus.kind), ("task", config.task.name)):
        config[section] = OmegaConf.merge(config.experiment.get(name, {}), config[section])
    return config


def places(config: DictConfig) -> Places:
    """Return where a task's files lie."""
    paths, task = config.paths, config.task.name
    return Places(
        labels=Path(paths.labels),
        features=Path(paths.features),
        stems=Path(paths.stems),
        listening=Path(paths.listening),
        output=Path(paths.models) / task,
        checkpoints=Path(paths.checkpoints),
        curves=Path(paths.reports) / "curves" / f"{task}.csv",
        lock=Path(paths.lock),
    )


def trainer(section: DictConfig) -> TrainerSettings:
    """Return where and how training runs."""
    return read(TrainerSettings, section)


def stage(function: Callable[[DictConfig], T]) -> Callable[[], None]:
    """Make a stage's entry point of a function of the configuration: errors of ours become one line and exit code 1."""

    def guarded(config: DictConfig) -> T:
        try:
            return function(completed(config))
        except BackbeatError as error:
            print(f"backbeat: error: {error}", file=sys.stderr, flush=True)
            # Past Hydra, which would print a traceback of its own.
            os._exit(error.exit_code)

    entry: Callable[[], None] = hydra.main(version_base="1.3", config_path=CONF, config_name="config")(guarded)
    return entry
