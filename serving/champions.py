"""The registry's champions: looked for beside the requests, found by the processes that answer them.

MLflow is slow to import and wants memory, so it is in a process that answers nobody. That one brings each new champion
into the state and then, in one file, says which folders are to be used; the others look at that file.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from backbeat.analysis.result import TASKS
from backbeat.files import write_json
from serving.beside import Beside
from serving.settings import CHOOSING, Settings

if TYPE_CHECKING:
    from backbeat.registry import Registry

_TOLD, _WORKED = "champions.json", "champions-that-worked{}.json"
#: Whose champions are remembered: of the tasks of an analysis, and of what beats and tracks are chosen by.
HEARING, CHOOSERS = "", "-choosing"
_LOG = structlog.get_logger("serving.champions")


def folders_told(settings: Settings, tasks: Collection[str]) -> dict[str, Path] | None:
    """Return the folders of the champions of some tasks; None until the registry has been asked for the first time."""
    told = _read(settings.place(_TOLD))
    return told and {task: folder for task, folder in told.items() if task in tasks}


def folders_that_worked(settings: Settings, whose: str = HEARING) -> dict[str, Path]:
    """Return the folders of the champions that `whose` tasks were last done with; none where none ever were."""
    return _read(settings.place(_WORKED.format(whose))) or {}


def remember(settings: Settings, folders: dict[str, Path], whose: str = HEARING) -> None:
    """Keep the folders of champions that were loaded, for a start at which others cannot be."""
    try:
        _write(settings.place(_WORKED.format(whose)), folders)
    except OSError as error:
        _LOG.error("champions_not_remembered", cause=error.strerror)


class Scout:
    """Looks for new champions every few seconds, until it is stopped."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._registry: Registry | None = None
        self._beside = Beside("backbeat-champions", self._look, settings.models.registry_s, "registry_away")

    def start(self) -> None:
        """Begin, in a thread; where no registry is configured, do nothing."""
        if self._settings.models.registry:
            self._beside.start()

    def stop(self) -> None:
        """End."""
        self._beside.stop()

    def _look(self) -> None:
        from backbeat.registry import Registry

        if self._registry is None:
            self._registry = Registry(self._settings.models.registry)
        folders = {}
        for task in (*TASKS, *CHOOSING):
            if champion := self._registry.champion(task):
                folders[task] = self._registry.fetch(champion, self._settings.place("champions")).absolute()
        if folders != _read(self._settings.place(_TOLD)):
            _write(self._settings.place(_TOLD), folders)
            _LOG.info("champions", folders={task: folder.name for task, folder in folders.items()})


def _read(path: Path) -> dict[str, Path] | None:
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return {task: Path(folder) for task, folder in told.items()}


def _write(path: Path, folders: dict[str, Path]) -> None:
    write_json(path, {task: str(folder) for task, folder in folders.items()})
