"""A client of the service: what `backbeat analyze`, `separate` and `chart` do here, done there.

::

    with Client("http://localhost:8000") as client:
        analysis = client.analyze("song.mp3")
        client.separate("song.mp3", "stems", model="spleeter:4stems")
        client.chart("song.mp3", "output/song", options={"title": "Song"})
"""

from __future__ import annotations

import json
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO, Any

import httpx

from backbeat.analysis.result import Analysis
from backbeat.client_calls import refused
from backbeat.client_catalogue import CatalogueCalls
from backbeat.errors import ServiceError, TimeLimitError
from backbeat.files import atomic_path

_LOOK_S = 0.5


class Client(CatalogueCalls):
    """Asks a service.

    Parameters
    ----------
    url
        Where it is: "http://localhost:8000".
    key
        A key or token, for a service that wants one.
    timeout_s
        The longest that one answer may take.
    patience_s
        How long a service that is busy, or not ready, is asked again.

    Raises
    ------
    ConfigError
        If the address is none.
    """

    def analyze(self, path: Path | str, *, descriptors: bool = False) -> Analysis:
        """Analyse a file, and describe it where that is asked for.

        Raises
        ------
        AudioNotFoundError
            If there is no such file here.
        ServiceError
            If the service refuses it, or cannot be reached.
        """
        return Analysis.from_dict(self._send("/v1/analyze", path, {"descriptors": "true"} if descriptors else {}))

    def analyze_fields(self, path: Path | str, fields: Sequence[str]) -> dict[str, Any]:
        """Return some fields of the analysis of a file; errors as `analyze`."""
        return self._send("/v1/analyze", path, {"fields": ",".join(fields)})

    def correct(
        self,
        request_id: str,
        path: Path | str | None = None,
        *,
        genre: str | None = None,
        beats: Sequence[float] | Sequence[tuple[float, int]] | None = None,
        licence: str = "",
        item: int = 0,
    ) -> dict[str, Any]:
        """Say what is right of an answer, so that it is learnt from.

        Parameters
        ----------
        request_id, item
            The answer, and which file of a batch.
        path
            The file that was analysed; None where the service still has it.
        genre, beats
            What is right, one of the two; beats in seconds, with their positions in the bar if they are known.
        licence
            Under which the recording may be trained on.

        Raises
        ------
        AudioNotFoundError
            If there is no such file here.
        ServiceError
            If the service refuses the correction, or cannot be reached.
        """
        given: dict[str, Any] = {"request_id": request_id, "item": item, "licence": licence}
        if genre is not None:
            given["genre"] = genre
        if beats is not None:
            given["beats"] = [list(beat) if isinstance(beat, tuple) else beat for beat in beats]
        if path is None:
            told: dict[str, Any] = self._ask("POST", "/v1/feedback", json=given).json()
            return told
        form = {name: json.dumps(value) if name == "beats" else str(value) for name, value in given.items()}
        return self._send("/v1/feedback", path, {}, form)

    def models(self) -> dict[str, Any]:
        """Return the models in use, by task; ServiceError when they cannot be had."""
        told: dict[str, Any] = self._ask("GET", "/v1/models").json()["models"]
        return told

    def separate(
        self,
        path: Path | str,
        output_dir: Path | str,
        *,
        model: str = "spleeter:2stems",
        options: Mapping[str, Any] | None = None,
        timeout_s: float = 3600.0,
        progress: Callable[[float], None] | None = None,
    ) -> dict[str, Path]:
        """Separate a file into `output_dir`, a file a stem, and return them by stem.

        Parameters
        ----------
        path, output_dir, model
            The audio, where the stems go, and "spleeter:4stems" say.
        options
            Other parameters of `POST /v1/separate`: stems, format, bits...
        timeout_s
            The longest to wait; the job is cancelled then.
        progress
            Called with the share that is done.

        Raises
        ------
        AudioNotFoundError, ServiceError
            As `analyze`, and if the job fails.
        TimeLimitError
            If it took too long.
        """
        job = self._send("/v1/separate", path, {"model": model, **(options or {})})
        job = self._done(job, path, timeout_s, progress)
        return {stem: self._fetch(job["id"], stem, Path(output_dir)) for stem in job["stems"]}

    def chart(
        self,
        path: Path | str,
        output_dir: Path | str,
        *,
        options: Mapping[str, Any] | None = None,
        timeout_s: float = 3600.0,
        progress: Callable[[float], None] | None = None,
    ) -> dict[str, Any]:
        """Make drum charts of a file into `output_dir`, and return what the service reports of them.

        Parameters
        ----------
        path, output_dir
            The audio, and where the charts, the music and the sounds go.
        options
            Parameters of `POST /v1/chart`: title, artist, tiers, bpm...
        timeout_s, progress
            As for `separate`.

        Raises
        ------
        AudioNotFoundError, ServiceError
            As `analyze`, and if the job fails, or what comes of it is no folder of files.
        TimeLimitError
            If it took too long.
        """
        job = self._done(self._send("/v1/chart", path, options or {}), path, timeout_s, progress)
        with tempfile.TemporaryFile() as archive:
            with self._result(f"/v1/jobs/{job['id']}/result") as answer:
                for piece in answer.iter_bytes(1 << 20):
                    archive.write(piece)
            _unpack(archive, Path(output_dir))
        report: dict[str, Any] = job["report"]
        return report

    def _done(
        self, job: dict[str, Any], path: Path | str, timeout_s: float, progress: Callable[[float], None] | None
    ) -> dict[str, Any]:
        """Return a job once it is done; it is cancelled when it takes too long, or nobody waits any more."""
        with self._cancelled_on_error(job["id"]):
            until = time.monotonic() + timeout_s
            while job["state"] in ("queued", "running"):
                if time.monotonic() > until:
                    raise TimeLimitError(f"{path}: was not done within {timeout_s:g} s")
                time.sleep(_LOOK_S)
                job = self._ask("GET", f"/v1/jobs/{job['id']}").json()
                if progress:
                    progress(job["progress"])
        if job["state"] != "done":
            error = job["error"] or {"code": job["state"], "message": f"the job was {job['state']}"}
            raise ServiceError(error["code"], f"{path}: {error['message']}", "")
        return job

    @contextmanager
    def _cancelled_on_error(self, job: str) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self._http.delete(f"/v1/jobs/{job}")
            raise

    def _fetch(self, job: str, stem: str, folder: Path) -> Path:
        with self._result(f"/v1/jobs/{job}/result/{stem}") as answer:
            # The name of the stem is the service's word; what it is called here is ours.
            suffix = Path(answer.headers["content-disposition"].rpartition('"')[0]).suffix
            path = folder / f"{Path(stem).name}{suffix}"
            with atomic_path(path) as temporary, temporary.open("wb") as out:
                for piece in answer.iter_bytes(1 << 20):
                    out.write(piece)
        return path

    @contextmanager
    def _result(self, url: str) -> Iterator[httpx.Response]:
        try:
            with self._http.stream("GET", url) as answer:
                if answer.is_error:
                    answer.read()
                    raise refused(answer)
                yield answer
        except httpx.HTTPError as error:
            raise self._away(error) from None


def _unpack(archive: IO[bytes], folder: Path) -> None:
    """Write the files of a ZIP into a folder; ServiceError, before any is written, where one would lie elsewhere."""
    try:
        with zipfile.ZipFile(archive) as opened:
            members = opened.infolist()
            for member in members:
                name = member.filename
                # As any system would read it: this one, and that of whoever gets the folder.
                if name in ("", ".", "..") or PureWindowsPath(name).name != name or PurePosixPath(name).name != name:
                    raise ServiceError("unknown", f"{name[:100]!r}: the service gave a file that is for elsewhere", "")
            folder.mkdir(parents=True, exist_ok=True)
            for member in members:
                with opened.open(member) as source, atomic_path(folder / member.filename) as temporary:
                    temporary.write_bytes(source.read())
    except zipfile.BadZipFile as error:
        raise ServiceError("unknown", f"what the service gave is no ZIP of files: {error}", "") from None
