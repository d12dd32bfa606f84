"""Stage `corpus`: compose, render or import one corpus, in the contract of `backbeat.corpus.contract`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from pydantic import ValidationError, validate_call

from backbeat.corpus.contract import Corpus
from backbeat.errors import ConfigError
from pipelines.settings import plain, read, stage


def found_sources(source: Path) -> dict[str, Any]:
    """Return what the folder of sources offers the renderer: soundfonts, kits and human performances."""
    groove = source / "groove"
    return {
        "soundfonts": tuple(str(path) for path in sorted((source / "soundfonts").glob("*.sf[23]"))),
        "kits": tuple(str(path) for path in sorted((source / "kits").glob("*")) if path.is_dir()),
        "performances": str(groove) if (groove / "info.csv").is_file() else None,
    }


def sources_to_render(source: Path) -> dict[str, Any]:
    """Return what composed music is played on: the default soundfont first, and what the folder of sources offers."""
    found = found_sources(source)
    if found["soundfonts"]:
        from backbeat.corpus.rendered.synthesise import default_soundfont

        found["soundfonts"] = (str(default_soundfont()), *found["soundfonts"])
    return found


def checked(function: Callable[..., Corpus]) -> Callable[..., Corpus]:
    """Return a function that refuses settings of the wrong type, with ConfigError, before it does anything."""

    def call(*args: Any, **settings: Any) -> Corpus:
        try:
            made: Corpus = validate_call(function)(*args, **settings)
        except ValidationError as error:
            first = error.errors()[0]
            raise ConfigError(f"corpus.{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
        return made

    return call


def make(kind: str, root: Path, source: Path, settings: dict[str, Any]) -> Corpus:
    """Make a corpus of `kind` at `root`; the settings are those of its conf/corpus/ file."""
    # Each kind brings its own libraries.
    if kind == "rendered":
        from backbeat.corpus.rendered.render import RenderedParams, render_corpus

        return render_corpus(root, read(RenderedParams, {**settings, **sources_to_render(source)}))
    if kind == "pairs":
        from backbeat.corpus.rendered.pairs import PairsParams, render_pairs

        return render_pairs(root, read(PairsParams, {**settings, **sources_to_render(source)}))
    if kind == "groove":
        from backbeat.corpus.groove import GrooveParams, make_groove_corpus

        found = found_sources(source)
        found.pop("performances")
        return make_groove_corpus(root, source / "groove", read(GrooveParams, {**settings, **found}))
    if kind == "folder":
        from backbeat.corpus.folder import import_folder
        from backbeat.corpus.splits import Shares

        shares = read(Shares, settings.pop("shares"))
        return checked(import_folder)(source, root, shares=shares, **settings)
    if kind == "stems":
        from backbeat.corpus.splits import Shares
        from backbeat.corpus.stems import import_stems

        shares = read(Shares, settings.pop("shares"))
        return checked(import_stems)(source, root, shares=shares, **settings)
    if kind == "mirdata":
        from backbeat.corpus.mirdata_source import import_mirdata

        return import_mirdata(root.name, root, source, **settings)
    raise ConfigError(
        f"there is no kind of corpus {kind!r}; the kinds are rendered, pairs, groove, folder, stems, mirdata"
    )


@stage
def main(config: DictConfig) -> None:
    settings = plain(config.corpus)
    kind, name, source = (settings.pop(key) for key in ("kind", "name", "source"))
    corpus = make(kind, Path(config.paths.corpora) / name, Path(source), settings)
    print(f"{corpus.root}: {len(corpus.tracks)} tracks")


if __name__ == "__main__":
    main()
