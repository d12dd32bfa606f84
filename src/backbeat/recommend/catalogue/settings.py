"""Where the catalogue lies: `conf/catalogue/default.yaml`, a file of one's own before it, variables before both."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from backbeat.errors import ConfigError
from backbeat.recommend.catalogue.neighbours import NeighbourSettings
from backbeat.settings import conf_file, layered, read_settings

#: Names a file of settings, and begins the names of variables that are one.
VARIABLE = "BACKBEAT_CATALOGUE"
#: The file, where it is SQLite in a folder.
DATABASE = "catalogue.db"
_SQLITE = "sqlite:///"


@dataclass(frozen=True)
class CatalogueSettings:
    """All of it; see conf/catalogue/default.yaml."""

    folder: str
    database: str = field(repr=False)
    neighbours: NeighbourSettings

    @property
    def url(self) -> str:
        """What SQLAlchemy reads."""
        return self.database or f"{_SQLITE}{(Path(self.folder) / DATABASE).absolute()}"

    @property
    def place(self) -> Path:
        """Where indexes and audio lie: beside the file where the database is one."""
        file = self.file
        return Path(self.folder).absolute() if file is None else file.parent

    @property
    def file(self) -> Path | None:
        """The database's file; None where it is none."""
        return Path(self.url.removeprefix(_SQLITE)).absolute() if self.url.startswith(_SQLITE) else None


def default_file() -> Path:
    """Return the file that has every setting."""
    return conf_file("catalogue/default.yaml")


def load_catalogue(environment: Mapping[str, str] = os.environ) -> CatalogueSettings:
    """Read the settings; ConfigError if a file cannot be read, or a setting is unknown or makes no sense."""
    return read_settings(CatalogueSettings, layered(default_file(), VARIABLE, environment))


def named(where: str, settings: CatalogueSettings) -> CatalogueSettings:
    """Return settings for the catalogue of a folder or a URL.

    Raises
    ------
    ConfigError
        If it is a URL of SQLite that names no file.
    """
    if "://" not in where:
        return replace(settings, folder=where, database="")
    if where.startswith("sqlite") and (not where.startswith(_SQLITE) or len(where) == len(_SQLITE)):
        raise ConfigError(f"{where}: a catalogue in SQLite is named as sqlite:///FILE, or by its folder")
    return replace(settings, database=where)
