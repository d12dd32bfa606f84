"""Public data sets by name, through mirdata: GTZAN, Ballroom, Hainsworth, Beatles, SIMAC and Groove MIDI.

Bittner, Fuentes, Rubinstein, Jansson, Choi and Kell, "mirdata: Software for Reproducible Usage of Datasets", ISMIR
2019. mirdata knows where each data set can be had, the checksum of each file, and how its annotations are written.
Three things are done here instead: files are fetched with a time-out and kept only when whole; the index is kept beside
the data instead of inside the installed package; and of Hainsworth and SIMAC, whose indexes mirdata 1.0 does not come
with, the folder itself is the index, so that their files have no checksums to be held to.
"""

from __future__ import annotations

import importlib
import json
import logging
import shutil
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from backbeat.audio import AUDIO_SUFFIXES
from backbeat.corpus.annotated import AnnotatedTrack, CopyMode, store
from backbeat.corpus.contract import Corpus
from backbeat.corpus.mirdata_sets import DATA_SETS, NAMES, DataSet, convert
from backbeat.corpus.splits import Shares, assign_splits
from backbeat.download import Progress, fetch, md5_file
from backbeat.errors import AnnotationError, CorpusError, CorpusUnavailableError


def import_mirdata(
    name: str,
    root: Path,
    data_home: Path,
    *,
    download: bool = False,
    version: str = "default",
    partial: bool = False,
    checksums: bool = True,
    shares: Shares | None = None,
    seed: int = 0,
    copy: CopyMode = "link",
    timeout_s: float = 30.0,
    progress: Progress | None = None,
) -> Corpus:
    """Make a corpus at `root` of a public data set.

    Parameters
    ----------
    name
        One of `NAMES`.
    data_home
        Where the data set lies, or shall lie, in mirdata's layout.
    download
        Whether to fetch what is missing, where it can be fetched.
    version
        Of the data set, as mirdata names them: "mini" for a tenth of GTZAN.
    partial
        Take the tracks whose files are all there, and leave out the others.
    checksums
        Refuse files that differ from mirdata's checksums; one's own copies of records always do.
    shares, seed
        Of the division into splits, by genre and never through a source.
    timeout_s
        The longest wait for a server.

    Raises
    ------
    CorpusUnavailableError
        If data are missing and are not, or cannot be, downloaded; says what to get and where to put it.
    CorpusError
        If `name` or `version` is unknown, files differ from their checksums, or some tracks are missing.
    AnnotationError
        If an annotation cannot be true.
    """
    if name not in DATA_SETS:
        raise CorpusError(f"{name!r} is not one of the data sets that can be imported: {', '.join(NAMES)}")
    spec = DATA_SETS[name]
    with _quiet_logging():
        module = importlib.import_module(f"mirdata.datasets.{name}")
        index, entry = _find_index(name, spec, module, data_home, version, download, timeout_s, progress)
        missing, changed = _check(index, data_home)
        if missing and download and module.REMOTES:
            _download(name, module, entry, data_home, timeout_s, progress)
            missing, changed = _check(index, data_home)
        index = _usable(name, spec, index, missing, changed, data_home, partial=partial, checksums=checksums)
        tracks = list(_convert(name, spec, module, index, data_home))
    splits = assign_splits([t.genre for t in tracks], [t.source or t.id for t in tracks], shares or Shares(), seed)
    return store(root, (replace(t, split=split) for t, split in zip(tracks, splits, strict=True)), copy=copy)


@contextmanager
def _quiet_logging() -> Iterator[None]:
    """Undo what mirdata does to the root logger when it is imported, and keep its chatter to errors."""
    logger = logging.getLogger()
    handlers, level, disabled = list(logger.handlers), logger.level, logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logger.handlers[:] = handlers
        logger.setLevel(level)
        logging.disable(disabled)


def _find_index(
    name: str,
    spec: DataSet,
    module: Any,
    data_home: Path,
    version: str,
    download: bool,
    timeout_s: float,
    progress: Progress | None,
) -> tuple[dict[str, Any], Any]:
    """Return the data set's index, read, and mirdata's entry for it (None where the folder is the index)."""
    resolved = module.INDEXES.get(version)
    if isinstance(resolved, str):
        resolved = module.INDEXES.get(resolved)
    if resolved is None and version != "default":
        known = [key for key in module.INDEXES if key not in ("default", "test", "sample")]
        raise CorpusError(f"{name} has no version {version!r}; mirdata knows {', '.join(known) or 'the default'}")
    if spec.layout:
        return _index_of_layout(name, spec, data_home), None
    kept = data_home / "indexes" / resolved.filename
    installed = Path(resolved.get_path())
    if not kept.is_file() and not installed.is_file():
        if not download or resolved.remote is None:
            address = resolved.remote.url if resolved.remote else "mirdata's repository"
            raise CorpusUnavailableError(
                f"{name} is not in {data_home}: allow its download, or get its index, {address}, and put it at {kept}"
            )
        fetch(resolved.remote.url, kept, resolved.remote.checksum, timeout_s=timeout_s, progress=progress)
    path = kept if kept.is_file() else installed
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        index = None
    if not isinstance(index, dict) or not isinstance(index.get("tracks"), dict):
        raise CorpusError(f"{path}: is not an index of mirdata's")
    return index, resolved


def _index_of_layout(name: str, spec: DataSet, data_home: Path) -> dict[str, Any]:
    """Make the index of a data set from its folder: audio, and annotations of the same name; no checksums."""
    folder = data_home / spec.layout
    audio = sorted(path for path in (folder / "audio").rglob("*") if path.suffix.lower() in AUDIO_SUFFIXES)
    if not audio:
        raise CorpusUnavailableError(f"{name} cannot be downloaded: get {spec.by_hand}, and put it at {folder}")
    annotations = {
        kind: {path.stem: path for path in sorted((folder / "annotations" / kind).rglob("*")) if path.is_file()}
        for kind in ("beats", "tempo")
    }
    if not annotations["beats"]:
        raise CorpusUnavailableError(f"{name} has no beats in {folder / 'annotations' / 'beats'}: get {spec.by_hand}")

    def entry(path: Path | None) -> list[str | None]:
        return [path.relative_to(data_home).as_posix() if path else None, None]

    tracks = {
        path.stem: {"audio": entry(path), **{kind: entry(found.get(path.stem)) for kind, found in annotations.items()}}
        for path in audio
    }
    return {"tracks": tracks}


def _check(index: dict[str, Any], data_home: Path) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Hold the files to the index: those missing, and those whose MD5 is another, by track."""
    missing: dict[str, list[str]] = {}
    changed: dict[str, list[str]] = {}
    for track_id, files in {**index["tracks"], "": index.get("metadata") or {}}.items():
        for path, md5 in files.values():
            if path is None:
                continue
            if not (data_home / path).is_file():
                missing.setdefault(track_id, []).append(path)
            elif md5 is not None and md5_file(data_home / path) != md5:
                changed.setdefault(track_id, []).append(path)
    return missing, changed


def _download(name: str, module: Any, entry: Any, data_home: Path, timeout_s: float, progress: Progress | None) -> None:
    """Fetch the archives of a data set and let mirdata unpack them."""
    from mirdata import core, download_utils

    remotes = {key: module.REMOTES[key] for key in entry.partial_download or module.REMOTES}
    for remote in remotes.values():
        target = data_home / (remote.destination_dir or "") / remote.filename
        fetch(remote.url, target, remote.checksum, timeout_s=timeout_s, progress=progress)
    try:
        # An index without address: mirdata fetches nothing, it finds the archives and unpacks them.
        download_utils.downloader(str(data_home), remotes=remotes, index=core.Index(filename=entry.filename))
    except (OSError, shutil.Error, tarfile.TarError, zipfile.BadZipFile) as error:
        raise CorpusError(f"{name} cannot be unpacked in {data_home}: {error}") from None


def _usable(
    name: str,
    spec: DataSet,
    index: dict[str, Any],
    missing: dict[str, list[str]],
    changed: dict[str, list[str]],
    data_home: Path,
    *,
    partial: bool,
    checksums: bool,
) -> dict[str, Any]:
    """Return the index without the tracks that cannot be used; raise where that is not allowed or leaves nothing."""
    tracks = {key: files for key, files in index["tracks"].items() if files["audio"][0] is not None}
    bad = {**missing, **(changed if checksums else {})}
    good = {key: files for key, files in tracks.items() if key not in bad}
    first_missing = next((data_home / paths[0] for paths in missing.values()), None)
    first_changed = next((data_home / paths[0] for paths in changed.values()), None)
    if not good and first_missing:
        what = f"get {spec.by_hand}" if spec.by_hand else "allow its download, or put it there by hand"
        raise CorpusUnavailableError(f"{name} is not in {data_home}: {first_missing} is missing; {what}")
    if "" in missing:
        raise CorpusUnavailableError(f"{name} is not complete: {first_missing} is missing")
    if changed and checksums and not (partial and good):
        number = sum(map(len, changed.values()))
        raise CorpusError(
            f"{name}: {number} files are not those that mirdata lists, first {first_changed}; "
            "take them all the same without checksums, or leave their tracks out as a partial import"
        )
    if missing and not partial:
        raise CorpusError(
            f"{name}: files of {len(missing)} of {len(tracks)} tracks are missing, first {first_missing}; "
            "leave these tracks out as a partial import"
        )
    return {**index, "tracks": good}


def _convert(name: str, spec: DataSet, module: Any, index: dict[str, Any], data_home: Path) -> Iterator[AnnotatedTrack]:
    """Read each track of the index with mirdata's own loaders."""
    metadata = _metadata(name, module, data_home)
    for track_id in sorted(index["tracks"]):
        track = module.Track(track_id, str(data_home), name, index, lambda: metadata)
        try:
            yield convert(spec, track_id, track)
        except AnnotationError as error:
            raise AnnotationError(f"track {track_id} of {name}: {error.problem}", error.path) from None
        except (ValueError, TypeError, IndexError, KeyError, EOFError) as error:
            # What mirdata's loaders and MIDI readers raise for files that are not what they should be.
            raise AnnotationError(f"track {track_id} of {name} cannot be read: {error}") from None


def _metadata(name: str, module: Any, data_home: Path) -> Any:
    """Read the data set's own table, where it has one, through mirdata."""
    if name != "groove_midi":
        return None
    try:
        return module.Dataset(data_home=str(data_home))._metadata
    except FileNotFoundError:
        raise CorpusUnavailableError(f"{name} is not complete: {data_home / 'info.csv'} is missing") from None
