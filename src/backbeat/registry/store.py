"""What the registry asks of MLflow: versions under a name, their tags and aliases, and the files of runs."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from backbeat.errors import ConfigError, RegistryError
from backbeat.tracking import (
    MODEL_FOLDER,
    hurry_mlflow,
    hush_mlflow,
    known_run,
    logged_file,
    sqlite_file,
    store_lock,
    unsecret,
)

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

#: Characters of a version's description.
_DESCRIPTION = 5000
_NUMBER = re.compile(r"[1-9][0-9]{0,8}")
_T = TypeVar("_T")


class ModelStore:
    """An MLflow store of models; what goes wrong with it is a RegistryError.

    Parameters
    ----------
    uri
        MLflow's tracking URI: an address, or SQLite as `sqlite:///mlflow.db`.
    make
        Whether a SQLite file that is not there yet is made; else that is a RegistryError.
    """

    def __init__(self, uri: str, *, make: bool = True) -> None:
        if not uri:
            raise ConfigError("a registry has a tracking URI, such as sqlite:///mlflow.db or http://localhost:5000")
        file = sqlite_file(uri)
        if file is not None and not make and not file.is_file():
            raise RegistryError(
                f"{file}: there is no registry here; name one with --registry, or begin one: "
                "`backbeat models register FOLDER`"
            )
        self.uri = uri
        hurry_mlflow()
        hush_mlflow()
        from mlflow import MlflowClient

        with self.asked(), store_lock(uri):
            self._client: MlflowClient = MlflowClient(tracking_uri=uri, registry_uri=uri)

    def append(self, name: str, run: str, tags: Mapping[str, str], description: str) -> ModelVersion:
        """Add a version of a run's folder; they are numbered one after the other, whoever adds from wherever."""
        source, text = f"runs:/{run}/{MODEL_FOLDER}", description[:_DESCRIPTION]
        with self.asked(), store_lock(self.uri):
            if not self._client.search_registered_models(f"name = '{name}'"):
                self._unless("RESOURCE_ALREADY_EXISTS", self._client.create_registered_model, name)
            return self._client.create_model_version(
                name, source, run, tags=dict(tags), description=text, await_creation_for=0
            )

    def delete(self, name: str, version: str) -> None:
        """Take a version away; its number is not given again."""
        with self.asked():
            self._client.delete_model_version(name, version)

    def search(self, name: str, which: str = "", *, newest: bool = True, at_once: int = 1000) -> Iterator[ModelVersion]:
        """Give the versions of a name, and of those the ones that a filter takes, by their numbers."""
        ask = f"name = '{name}'" + (f" and {which}" if which else "")
        order, token = [f"version_number {'DESC' if newest else 'ASC'}"], None
        while True:
            with self.asked():
                page = self._client.search_model_versions(ask, at_once, order, token)
            yield from page
            token = page.token
            if not token:
                return

    def first(self, name: str, which: str) -> ModelVersion | None:
        """Return the earliest version that a filter takes; None when there is none."""
        return next(self.search(name, which, newest=False, at_once=1), None)

    def get(self, name: str, version: str) -> ModelVersion | None:
        """Return a version; None when there is none of that number."""
        if not _NUMBER.fullmatch(version):
            return None
        with self.asked():
            return self._unless("RESOURCE_DOES_NOT_EXIST", self._client.get_model_version, name, version)

    def aliases(self, name: str) -> dict[str, str]:
        """Return the versions that the aliases of a name stand for."""
        with self.asked():
            found = self._client.search_registered_models(f"name = '{name}'")
        # Versions are integers on SQLite.
        return {alias: str(version) for alias, version in found[0].aliases.items()} if found else {}

    def set_alias(self, name: str, alias: str, version: str) -> None:
        """Let an alias stand for a version; of several who set it, the last one's holds."""
        with self.asked():
            self._client.set_registered_model_alias(name, alias, version)

    def remove_alias(self, name: str, alias: str) -> None:
        """Take an alias away."""
        with self.asked():
            self._client.delete_registered_model_alias(name, alias)

    def parameters(self, run: str) -> dict[str, str]:
        """Return a run's parameters; nothing where the run is gone."""
        with self.asked():
            found = self._unless("RESOURCE_DOES_NOT_EXIST", self._client.get_run, run)
        return dict(found.data.params) if found else {}

    def logged(self, run: str, place: Path) -> Path | None:
        """Bring the folder that a run logged into another; None where the run is not known, or logged none."""
        with self.asked():
            known = known_run(self._client, run)
            return None if known is None else logged_file(self._client, run, MODEL_FOLDER, place)

    def download(self, run: str, place: Path) -> Path:
        """Bring the folder of a version's run into another; return where it is."""
        with self.asked():
            return Path(self._client.download_artifacts(run, MODEL_FOLDER, str(place)))

    @staticmethod
    def _unless(code: str, ask: Callable[..., _T], *words: str) -> _T | None:
        """Return the answer to a question; None where MLflow's answer is an error of that code."""
        from mlflow.exceptions import MlflowException

        try:
            return ask(*words)
        except MlflowException as error:
            if error.error_code != code:
                raise
            return None

    @contextmanager
    def asked(self) -> Iterator[None]:
        """Turn what MLflow raises in the block to a RegistryError."""
        from mlflow.exceptions import MlflowException

        try:
            yield
        except (MlflowException, OSError) as error:
            lines = str(error).splitlines() or [type(error).__name__]
            # What MLflow says has the address again.
            raise RegistryError(unsecret(f"the registry at {self.uri} cannot be used: {lines[0]}")) from error
