"""Upkeep of a catalogue, of caches and of models: what is to be done is told first, and then just that is done."""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from backbeat.errors import AudioError, ModelError
from backbeat.files import sha256_file
from backbeat.model import SPEC, WEIGHTS, check_hash, hash_file, load_spec, space_of, task_of
from backbeat.recommend.catalogue import Catalogue
from backbeat.recommend.catalogue.adding import Describes
from backbeat.recommend.factors import interactions_since, refit

if TYPE_CHECKING:
    from backbeat.listening.factors import FactorSettings

#: What is told while a step is done: the share, and what is being done.
Telling = Callable[[float, str], None]
#: What is left of writing that was broken off: `atomic_path`'s folders, and partial corpora.
_BROKEN_OFF = re.compile(r"\..+\.([a-z0-9_]{8}|partial-[0-9a-f]+)|\.starter-[a-z0-9_]{8}")
#: Younger ones may be somebody's at work.
_SETTLED_S = 86400.0
#: Files in the service's folder of state that say which models of the registry it loads, and which it loaded before.
_IN_USE = ("champions.json", "champions-that-worked.json")
_FETCHED, _STEMS = "champions", "stems"


@dataclass(frozen=True)
class Step:
    """Something to be done: what, in words, and what does it, which returns what came of it, in words."""

    what: str
    do: Callable[[Telling], str]


@dataclass(frozen=True)
class Checked:
    """What came of a check: of what, and what is wrong; empty for nothing."""

    what: str
    problem: str


def reindex(
    catalogue: Catalogue,
    spaces: Iterable[str],
    describer: Callable[[], Describes],
    factors: Callable[[], FactorSettings | None] = lambda: None,
) -> Iterator[Step]:
    """Give what it takes to search a catalogue by models as they are now.

    Parameters
    ----------
    catalogue
        Of which items.
    spaces
        Of the models that vectors are made by.
    describer
        Loads them; called where items have to be heard.
    factors
        Tells how factors are fitted to interactions; called where there are new ones.
    """
    wanted = tuple(spaces)
    lacking = {space: catalogue.lacking(space) for space in wanted}
    outdated = catalogue.recordings.outdated()
    items = sorted({*outdated, *(item for found in lacking.values() for item in found)})
    if items:
        told = [f"{len(found)} without {space}" for space, found in lacking.items() if found]
        told += [f"{len(outdated)} with a fingerprint of another version"] if outdated else []
        yield Step(
            f"hear {len(items)} items again ({', '.join(told)})",
            lambda telling: _heard_again(catalogue, items, wanted, {id_ for id_, _ in outdated}, describer(), telling),
        )
    yield Step("index the fingerprints anew", lambda _: f"{catalogue.recordings.build()} recordings")
    yield Step("index the vectors anew where there are many", lambda _: _indexed(catalogue))
    if count := interactions_since(catalogue):
        yield Step(
            f"fit the factors of items to interactions ({count} came or went since)",
            lambda _: f"{refit(catalogue, factors())} items",
        )


def _heard_again(
    catalogue: Catalogue,
    items: list[tuple[str, str]],
    spaces: tuple[str, ...],
    outdated: set[str],
    describer: Describes,
    telling: Telling,
) -> str:
    """Put vectors and fingerprints in their places; fingerprints that nothing can read any more go in any case."""
    missed = []
    for done, (id_, path) in enumerate(items):
        telling(done / len(items), id_)
        mark, vectors = b"", {}
        try:
            if not path:
                raise AudioError(id_, "its audio is not known")
            described = describer.describe(path)
            mark, vectors = described.fingerprint, dict(described.vectors)
        except AudioError as error:
            missed.append(f"{id_}: {error.cause}")
        for space in spaces:
            if space in vectors:
                catalogue.put_vectors(space, [id_], vectors[space][None])
        if id_ in outdated:
            catalogue.put_fingerprint(id_, mark)
    heard = f"{len(items) - len(missed)} heard"
    return f"{heard}; {len(missed)} could not be: {'; '.join(missed)}" if missed else heard


def _indexed(catalogue: Catalogue) -> str:
    catalogue.index()
    return "done"


def vacuum(catalogue: Catalogue) -> Iterator[Step]:
    """Give what leaves nothing of removed items and users in the files of a catalogue, and returns its room."""
    file = catalogue.settings.file
    size = "" if file is None else f" ({_bytes(file.stat().st_size)})"

    def write(_: Telling) -> str:
        catalogue.vacuum()
        return "done" if file is None else f"{_bytes(file.stat().st_size)} now"

    yield Step(f"write the catalogue's database{size} and its indexes anew", write)


def prune(
    catalogue: Catalogue | None,
    spaces: Iterable[str],
    state: Path,
    folders: Iterable[Path],
    *,
    now: float | None = None,
) -> Iterator[Step]:
    """Give what throws out what nobody needs any more.

    Parameters
    ----------
    catalogue
        None where there is none.
    spaces
        Of the models that are in use.
    state
        The service's folder: its cache of stems, and what it fetched from the registry.
    folders
        Where corpora and the like are made.
    now
        Seconds since 1970.
    """
    now = time.time() if now is None else now
    if catalogue is not None:
        yield from _stale_spaces(catalogue, tuple(spaces))
        yield from _removals("stray file", (path for path in catalogue.strays() if _settled(path, now)))
    yield from _outdated_stems(state / _STEMS)
    yield from _removals("fetched version", _unused_versions(state, now))
    places = [*folders, *([] if catalogue is None else [catalogue.place])]
    yield from _removals("leftover", (path for place in places for path in _broken_off(place, now)))


def _stale_spaces(catalogue: Catalogue, spaces: tuple[str, ...]) -> Iterator[Step]:
    for space, count in catalogue.spaces().items():
        same = [one for one in spaces if one.partition(":")[0] == space.partition(":")[0]]
        # Until all items have a vector of the new model, the old one's are all there is to search.
        if same and space not in same and not any(catalogue.lacking(one) for one in same):
            yield Step(f"remove {count} vectors of {space}", partial(_dropped, catalogue, space))


def _dropped(catalogue: Catalogue, space: str, _: Telling) -> str:
    return f"{catalogue.drop_space(space)} removed"


def _outdated_stems(folder: Path) -> Iterator[Step]:
    from backbeat.separation.cache import StemCache

    if not folder.is_dir():
        return
    with closing(StemCache(folder)) as cache:
        count, size = cache.outdated()
    if count:
        yield Step(f"remove {count} outdated stems ({_bytes(size)}) of {folder}", partial(_pruned, folder))


def _pruned(folder: Path, _: Telling) -> str:
    from backbeat.separation.cache import StemCache

    with closing(StemCache(folder)) as cache:
        return f"{cache.prune()} removed"


def _unused_versions(state: Path, now: float) -> Iterator[Path]:
    """Give the folders of fetched versions that the service neither loads nor loaded last."""
    used = {folder.name for folders in map(_told, (state / name for name in _IN_USE)) for folder in folders.values()}
    if not used:
        return
    for folder in sorted((state / _FETCHED).glob("*/*")):
        if folder.is_dir() and (folder / SPEC).is_file() and folder.name not in used and _settled(folder, now):
            yield folder


def _broken_off(place: Path, now: float) -> Iterator[Path]:
    for path in sorted(place.glob(".*")) if place.is_dir() else ():
        if path.is_dir() and _BROKEN_OFF.fullmatch(path.name) and _settled(path, now):
            yield path


def _removals(what: str, paths: Iterable[Path]) -> Iterator[Step]:
    for path in paths:
        yield Step(f"remove the {what} {path} ({_bytes(_size(path))})", partial(_removed, path))


def _removed(path: Path, _: Telling) -> str:
    if path.is_dir():
        hash_file(path).unlink(missing_ok=True)
        shutil.rmtree(path)
    else:
        path.unlink()
    return "removed"


def verify(shipped: Path, state: Path, *, look: bool = True) -> Iterator[Checked]:
    """Check the weights of models against the hashes that were recorded as they came.

    Parameters
    ----------
    shipped
        The folder of those that come with the package.
    state
        The service's folder, with those that it fetched from the registry.
    look
        False to give only what would be checked.
    """
    from backbeat.separation.store import installed, validate

    for folder in [*sorted(shipped.glob("*/")), *sorted((state / _FETCHED).glob("*/*/"))]:
        if (folder / SPEC).is_file():
            yield _checked(folder, check_hash) if look else Checked(str(folder), "")
    for folder in installed():
        yield _checked(folder, validate) if look else Checked(str(folder), "")


def _checked(folder: Path, check: Callable[[Path], object]) -> Checked:
    try:
        check(folder)
    except ModelError as error:
        return Checked(str(folder), str(error))
    return Checked(str(folder), "")


def models_in_use(shipped: Path, state: Path) -> dict[str, Path]:
    """Return the folders of models by task: those that the service loads from a registry, else the shipped ones."""
    found = {task_of(folder): folder for folder in sorted(shipped.glob("*/")) if (folder / SPEC).is_file()}
    fetched = _told(state / _IN_USE[0])
    return {**found, **{task: folder for task, folder in fetched.items() if (folder / SPEC).is_file()}}


def spaces_of(models: Mapping[str, Path]) -> tuple[str, ...]:
    """Return the spaces of vectors that models make: "genre:HASH", and "pairing:HASH" where there is one."""
    return tuple(space_of(task, sha256_file(models[task] / WEIGHTS)) for task in ("genre", "pairing") if task in models)


def spaces_needed(models: Mapping[str, Path]) -> tuple[str, ...]:
    """Return the spaces that models make or were trained on."""
    made = spaces_of(models)
    if "listening" not in models:
        return made
    learned = load_spec(models["listening"]).decoding.get("space")
    return made if learned is None or learned in made else (*made, str(learned))


def _told(path: Path) -> dict[str, Path]:
    """Return folders by task, as the service wrote them; none where it has written none."""
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        return {str(task): Path(folder) for task, folder in told.items()}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}


def _settled(path: Path, now: float) -> bool:
    return path.stat().st_mtime < now - _SETTLED_S


def _size(path: Path) -> int:
    if path.is_dir():
        return sum(one.lstat().st_size for one in path.rglob("*") if not one.is_dir())
    return path.lstat().st_size


def _bytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB" if size >= 100_000 else f"{size:,} bytes"
