"""From a Hydra configuration to the frozen dataclasses that the code takes; nothing below knows Hydra."""

from __future__ import annotations

import copy
import os
import sys
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import hydra
from omegaconf import DictConfig, OmegaConf
from pydantic import TypeAdapter, ValidationError

from backbeat.errors import BackbeatError, ConfigError
from backbeat.training import Places, TrainerSettings

T = TypeVar("T")

CONF = str(Path(__file__).resolve().parent.parent / "conf")


def read(cls: type[T], section: DictConfig | dict[str, Any]) -> T:
    """Make `cls`, a dataclass, of a section of the configuration.

    Raises
    ------
    ConfigError
        If the section has an entry that `cls` lacks, lacks one that it needs, or has one of the wrong type.
    """
    values = plain(section) if isinstance(section, DictConfig) else section
    _refuse_unknown(cls, values)
    try:
        return TypeAdapter(cls).validate_python(values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(step) for step in first["loc"])
        raise ConfigError(f"{cls.__name__}.{where}: {first['msg']}") from None


def _refuse_unknown(cls: type, values: dict[str, Any]) -> None:
    types = get_type_hints(cls)
    known = {field.name for field in fields(cls)}
    for name, value in values.items():
        if name not in known:
            raise ConfigError(f"{cls.__name__} has no setting {name!r}; it has {', '.join(sorted(known))}")
        if is_dataclass(types[name]) and isinstance(value, dict):
            _refuse_unknown(types[name], value)


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
