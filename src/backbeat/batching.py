"""One network for many threads: what waits while it works goes through it together.

Nobody waits for a batch to fill: the network takes what there is whenever it is free. Alone, a caller loses nothing;
under load, batches form by themselves, which is what an accelerator wants.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from backbeat.errors import ConfigError

#: Called with the rows of each batch that went through.
OnBatch = Callable[[int], None]


@dataclass(eq=False)
class _Call:
    method: str
    rows: Tensor
    answer: Future[Any] = field(default_factory=Future)


class Batched:
    """A network whose `forward` and `embed` may be called from any thread; all else is the network's own.

    Calls for the same method with rows of one shape go through together. Should a batch fail, each call is tried by
    itself, so that only the one at fault fails.

    Parameters
    ----------
    network
        In evaluation mode. Inputs are (rows, ...); so are its outputs, a tensor or a tuple of them.
    max_rows
        The most that go through together, unless a single call has more.
    on_batch
        Told of each batch.

    Raises
    ------
    ConfigError
        If `max_rows` is not positive.
    """

    def __init__(self, network: nn.Module, max_rows: int = 16, on_batch: OnBatch | None = None) -> None:
        if max_rows < 1:
            raise ConfigError("a batch has one row or more")
        self._network, self._max_rows, self._on_batch = network, max_rows, on_batch
        self._waiting: deque[_Call] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="backbeat-network", daemon=True)
        self._thread.start()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._network, name)

    def __call__(self, rows: Tensor) -> Any:
        """Return what the network gives for (rows, ...)."""
        return self._ask("forward", rows)

    def embed(self, rows: Tensor) -> Any:
        """Return what the network's `embed` gives for (rows, ...)."""
        return self._ask("embed", rows)

    def close(self) -> None:
        """Let what waits be done, and stop."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _ask(self, method: str, rows: Tensor) -> Any:
        call = _Call(method, rows)
        with self._changed:
            if self._closed:
                raise RuntimeError("the network was closed")
            self._waiting.append(call)
            self._changed.notify()
        return call.answer.result()

    def _work(self) -> None:
        with torch.inference_mode():
            while True:
                with self._changed:
                    self._changed.wait_for(lambda: self._waiting or self._closed)
                    if not self._waiting:
                        return
                    batch = self._take()
                self._answer(batch)

    def _take(self) -> list[_Call]:
        """Take the call that waits longest, and those after it that fit it."""
        first = self._waiting.popleft()
        batch, count = [first], first.rows.shape[0]
        for call in list(self._waiting):
            alike = call.method == first.method and call.rows.shape[1:] == first.rows.shape[1:]
            if alike and count + call.rows.shape[0] <= self._max_rows:
                self._waiting.remove(call)
                batch.append(call)
                count += call.rows.shape[0]
        return batch

    def _answer(self, batch: list[_Call]) -> None:
        counts = [call.rows.shape[0] for call in batch]
        try:
            rows = batch[0].rows if len(batch) == 1 else torch.cat([call.rows for call in batch])
            told = getattr(self._network, batch[0].method)(rows)
        except Exception as error:
            if len(batch) == 1:
                batch[0].answer.set_exception(error)
            else:
                for call in batch:
                    self._answer([call])
            return
        if self._on_batch is not None:
            self._on_batch(sum(counts))
        if isinstance(told, tuple):
            answers: Any = zip(*(part.split(counts) for part in told), strict=True)
        else:
            answers = told.split(counts)
        for call, answer in zip(batch, answers, strict=True):
            call.answer.set_result(answer)
