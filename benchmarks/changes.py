"""Requests that are lost while the champion changes and while replicas are restarted, one after the other, under load.

Two replicas follow one registry. Clients ask one or the other, as a balancer would have it: one that is about to be
restarted gets no new requests for a moment before it is told to end, and again once it is ready. A request counts as
accepted once it was sent; it is lost if no whole answer of status 200 comes.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import threading
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from asking import answer, ask_once, request, running

from backbeat.analysis.analyzer import shipped_models
from backbeat.files import write_json
from backbeat.model import SPEC, load_spec
from backbeat.registry import Registry

CHANGES = 4
CLIENTS = 3
#: As long as a balancer is given to hear of a replica that will end.
DRAIN_S = 2.0
SERVICE = "serving.service:Backbeat"


def lost_requests(folder: Path, song: Path) -> dict[str, float]:
    """Measure: how many were asked and lost, in changes of the model and in a rolling restart."""
    folder.mkdir()
    before = Path.cwd()
    os.chdir(folder)  # MLflow puts artifacts beside where it is used
    try:
        return _lost(folder, song)
    finally:
        os.chdir(before)


def _lost(folder: Path, song: Path) -> dict[str, float]:
    registry = Registry(f"sqlite:///{folder / 'mlflow.db'}")
    for number in (1, 2):
        model = folder / f"model-{number}"
        shutil.copytree(shipped_models()["beat"], model)
        write_json(model / SPEC, replace(load_spec(model), run="", commit=str(number)).to_dict())
        registry.register(model)
    registry.promote(registry.get("beat", "1"), instead_of=None, why="the first")
    how = {"models__registry": registry.uri, "models__registry_s": "1", "rates__per_address": ""}
    asked = request("/v1/beats", song.read_bytes(), "audio/mpeg")
    with ExitStack() as stacks:
        replicas = [stacks.enter_context(ExitStack()) for _ in range(2)]
        ports = [stack.enter_context(running(SERVICE, folder / str(n), **how))[0] for n, stack in enumerate(replicas)]

        load = Load(ports, asked)
        for change in range(CHANGES):
            now, then = "12" if change % 2 == 0 else "21"
            registry.promote(registry.get("beat", then), instead_of=now, why="the other")
            for port in ports:
                while _version(port) != then:
                    time.sleep(0.2)
        load.end()
        found = {"model_changes": CHANGES, "model_change_asked": load.asked, "model_change_lost": load.lost}

        load = Load(ports, asked)
        for number, stack in enumerate(replicas):
            load.ports = [port for port in ports if port != ports[number]]
            time.sleep(DRAIN_S)
            stack.close()
            ports[number] = stack.enter_context(running(SERVICE, folder / str(number), **how))[0]
            load.ports = list(ports)
            time.sleep(DRAIN_S)
        load.end()
        return found | {"restart_asked": load.asked, "restart_lost": load.lost}


def _version(port: int) -> str:
    asked = b"GET /v1/models HTTP/1.1\r\nHost: x\r\n\r\n"
    return str(asyncio.run(ask_once(port, asked))["models"]["beat"]["version"])


class Load:
    """Clients that ask, each over a new connection, one port after the other, until the end."""

    def __init__(self, ports: list[int], asked: bytes) -> None:
        self.ports = list(ports)
        self.asked = self.lost = 0
        self._request, self._over = asked, False
        self._thread = threading.Thread(target=lambda: asyncio.run(self._work()))
        self._thread.start()

    def end(self) -> None:
        """Let those on their way come to an end."""
        self._over = True
        self._thread.join()

    async def _work(self) -> None:
        await asyncio.gather(*(self._client(number) for number in range(CLIENTS)))

    async def _client(self, number: int) -> None:
        while not self._over:
            number += 1
            port = self.ports[number % len(self.ports)]
            self.asked += 1
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(self._request)
                status, _ = await answer(reader)
                self.lost += status != 200
                writer.close()
            except (OSError, asyncio.IncompleteReadError) as error:
                print(f"lost at port {port}: {error!r}")
                self.lost += 1
