"""Viruses: clamd is asked over its socket (INSTREAM); what it does not call clean is not heard."""

from __future__ import annotations

import asyncio
import struct
from pathlib import Path

import structlog

from serving.problems import Problem
from serving.settings import Scan

_LOG = structlog.get_logger("serving.scan")
_PIECE_BYTES = 1 << 18


class Scanner:
    """Asks clamd of files; without an address, lets all pass."""

    def __init__(self, scan: Scan) -> None:
        self._address, self._timeout_s = scan.clamd, scan.timeout_s

    async def check(self, path: Path) -> None:
        """Let a file pass.

        Raises
        ------
        Problem
            If clamd finds something, or cannot be asked: nothing unscanned passes.
        """
        if not self._address:
            return
        try:
            async with asyncio.timeout(self._timeout_s):
                answer = await self._ask(path)
        except (OSError, TimeoutError, asyncio.IncompleteReadError) as error:
            _LOG.error("scanner_away", cause=type(error).__name__)
            raise Problem("not_ready", "files cannot be scanned at the moment", {"Retry-After": "30"}) from None
        if answer == "stream: OK":
            return
        if answer.endswith(" FOUND"):
            signature = answer.removeprefix("stream: ").removesuffix(" FOUND")
            _LOG.warning("virus_found", signature=signature)
            raise Problem("refused_file", "the virus scanner refused the file")
        _LOG.error("scanner_fails", answer=answer[:200])
        raise Problem("not_ready", "files cannot be scanned at the moment", {"Retry-After": "30"})

    async def _ask(self, path: Path) -> str:
        host, colon, port = self._address.rpartition(":")
        if colon and port.isdigit():
            reader, writer = await asyncio.open_connection(host, int(port))
        else:
            reader, writer = await asyncio.open_unix_connection(self._address)
        try:
            writer.write(b"zINSTREAM\0")
            with path.open("rb") as stream:
                while piece := await asyncio.to_thread(stream.read, _PIECE_BYTES):
                    writer.write(struct.pack("!I", len(piece)) + piece)
                    await writer.drain()
            writer.write(struct.pack("!I", 0))
            await writer.drain()
            return (await reader.readuntil(b"\0"))[:-1].decode("utf-8", "replace")
        finally:
            writer.close()
