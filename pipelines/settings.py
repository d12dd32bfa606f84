"""From a Hydra configuration to the frozen dataclasses that the code takes; nothing below knows Hydra."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar

import hydra
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from backbeat.errors import BackbeatError, ConfigError
from backbeat.training import Places

T = TypeVar("T")

CONF = str(Path(__file__).resolve().parent.parent / "conf")


def read(cls: type[T], section: DictConfig) -> T:
    """Make `cls`, a dataclass, of a section of the configuration.

    Raises
    ------
    ConfigError
        If the section has an entry that `cls` lacks, lacks one that it needs, or has one of the wrong type.
    """
    known = {field.name for field in fields(cls)}  # type: ignore[arg-type]
    unknown = sorted(str(name) for name in section if name not in known)
    if unknown:
        raise ConfigError(f"{cls.__name__} has no setting {unknown[0]!r}; it has {', '.join(sorted(known))}")
    try:
        merged = OmegaConf.merge(OmegaConf.structured(cls), section)
        made = OmegaConf.to_object(merged)
    except OmegaConfBaseException as error:
        raise ConfigError(f"{cls.__name__}: {str(error).splitlines()[0]}") from None
    if not is_dataclass(made) or not isinstance(made, cls):
        raise ConfigError(f"{cls.__name__} cannot be made of {section}")
    return made


def plain(section: DictConfig) -> dict[str, Any]:
    """Return a section as plain dictionaries and lists, references resolved."""
    values = OmegaConf.to_container(section, resolve=True)
    if not isinstance(values, dict):
        raise ConfigError("the configuration is not a mapping")
    return {str(name): value for name, value in values.items()}


def places(config: DictConfig) -> Places:
    """Return where a task's files lie."""
    paths, task = config.paths, config.task.name
    return Places(
        labels=Path(paths.labels),
        features=Path(paths.features),
        output=Path(paths.models) / task,
        checkpoints=Path(paths.checkpoints),
        curves=Path(paths.reports) / "curves" / f"{task}.csv",
        lock=Path(paths.lock),
    )


def stage(function: Callable[[DictConfig], T]) -> Callable[[], None]:
    """Make a stage's entry point of a function of the configuration: errors of ours become one line and exit code 1."""

    def guarded(config: DictConfig) -> T:
        try:
            return function(config)
        except BackbeatError as error:
            print(f"backbeat: error: {error}", file=sys.stderr, flush=True)
            # Past Hydra, which would print a traceback of its own.
            os._exit(error.exit_code)

    entry: Callable[[], None] = hydra.main(version_base="1.3", config_path=CONF, config_name="config")(guarded)
    return entry
