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
from backbeat.errors import AudioNotFoundError, ConfigError, ServiceError, TimeLimitError
from backbeat.files import atomic_path

_BUSY = (429, 503)
_LONGEST_PAUSE_S = 30.0
_LOOK_S = 0.5


class Client:
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

    def __init__(self, url: str, key: str | None = None, *, timeout_s: float = 300.0, patience_s: float = 60.0) -> None:
        if not url.startswith(("http://", "https://")):
            raise ConfigError(f"{url!r} is no address of a service: http://HOST:PORT or https://...")
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._url, self._patience_s = url, patience_s
        #: Of the last answer: by it the answer can be traced and corrected.
        self.request_id = ""
        self._http = httpx.Client(base_url=url, headers=headers, timeout=timeout_s)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of connections."""
        self._http.close()

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
                    raise _refused(answer)
                yield answer
        except httpx.HTTPError as error:
            raise self._away(error) from None

    def _send(
        self, url: str, path: Path | str, parameters: Mapping[str, Any], form: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        path = Path(path)
        if not path.is_file():
            raise AudioNotFoundError(path, "is no file" if path.exists() else "there is no such file")
        with path.open("rb") as stream:
            file = {"file": (path.name, stream)}
            answer = self._ask("POST", url, params=parameters, data=form, files=file, rewind=stream)
        told: dict[str, Any] = answer.json()
        return told

    def _ask(self, method: str, url: str, rewind: Any = None, **how: Any) -> httpx.Response:
        """Ask, again while the service is busy; ServiceError when it refuses."""
        until = time.monotonic() + self._patience_s
        while True:
            try:
                answer = self._http.request(method, url, **how)
            except httpx.HTTPError as error:
                raise self._away(error) from None
            except httpx.InvalidURL as error:
                raise ConfigError(f"what is asked for cannot be put into an address: {error}") from None
            self.request_id = answer.headers.get("x-request-id", "")
            if answer.is_success:
                return answer
            problem = _refused(answer)
            told = answer.headers.get("retry-after", "")
            pause_s = min(float(told) if told.isdigit() else _LONGEST_PAUSE_S, _LONGEST_PAUSE_S)
            if answer.status_code not in _BUSY or not told or time.monotonic() + pause_s > until:
                raise problem
            time.sleep(pause_s)
            if rewind is not None:
                rewind.seek(0)

    def _away(self, error: httpx.HTTPError) -> ServiceError:
        cause = str(error) or type(error).__name__
        return ServiceError("away", f"{self._url}: the service cannot be reached: {cause}", "")


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


def _refused(answer: httpx.Response) -> ServiceError:
    try:
        error = answer.json()["error"]
        return ServiceError(error["code"], error["message"], error["request_id"])
    except (ValueError, KeyError, TypeError):
        return ServiceError("unknown", f"{answer.url}: answered {answer.status_code}, and not as this service does", "")
