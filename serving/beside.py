"""Work that is done every few seconds beside the requests, in the process that answers nobody."""

from __future__ import annotations

import threading
from collections.abc import Callable

import structlog

from backbeat.errors import BackbeatError

_LOG = structlog.get_logger("serving.beside")


class Beside:
    """A thread that does something again and again, until it is stopped.

    Parameters
    ----------
    name
        Of the thread.
    look
        What it does. A BackbeatError says that something is away: that is told once, until it is back.
    every_s
        Between two turns.
    away
        What the log calls it.
    """

    def __init__(self, name: str, look: Callable[[], None], every_s: float, away: str) -> None:
        self._look, self._every_s, self._told_as = look, every_s, away
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(15)

    def _work(self) -> None:
        away = False
        while not self._stopping.is_set():
            try:
                self._look()
                away = False
            except BackbeatError as error:
                if not away:
                    _LOG.error(self._told_as, message=str(error))
                away = True
            except Exception:
                _LOG.exception("fault")
            self._stopping.wait(self._every_s)
