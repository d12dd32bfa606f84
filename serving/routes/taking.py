"""A file of a request, described: what beats are chosen for, and what the catalogue keeps."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from starlette.requests import Request

from backbeat.analysis.analyzer import origin_of
from backbeat.files import sha256_file
from serving.analysing import Hearing
from serving.recommending import Chooser
from serving.routes.analysis import one_file, recorded
from serving.uploads import Upload

if TYPE_CHECKING:
    from backbeat.analysis.describing import Described


@asynccontextmanager
async def taken(
    request: Request, hearing: Hearing, chooser: Chooser, *, fingerprints: bool = False
) -> AsyncIterator[tuple[Upload, Described]]:
    """Take the file of a request and what was heard in it, for as long as a block lasts; errors as of an analysis."""
    pairing = chooser.pairing
    async with one_file(request, hearing) as file:
        async with hearing.turn() as ears:
            heard = await ears.hear(file.path, describe=True, fingerprints=fingerprints)
            sha256 = await asyncio.to_thread(sha256_file, file.path)
            described, judgement = await ears.describe(heard, sha256, pairing)
            asked = dict(judgement.fields["models"])
            if pairing is not None:
                asked["pairing"] = vars(origin_of(pairing.spec))
            fields = {**judgement.fields, "models": asked}
            lineage = {**ears.lineage, **chooser.lineage}
            await recorded(request, lineage, file, heard, replace(judgement, fields=fields))
        yield file, described
