"""One look for every picture: colours, type, and how a figure is made and written."""

from __future__ import annotations

import base64
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from backbeat.errors import ConfigError
from backbeat.files import atomic_path

#: Formats that a picture can be written in, by suffix, with what keeps its bytes the same from run to run.
_METADATA: dict[str, dict[str, Any]] = {
    ".png": {"Software": None},
    ".svg": {"Date": None},
    ".pdf": {"CreationDate": None},
}
_LARGE_PX = 4_000_000
_MIME = {".svg": "image/svg+xml", ".png": "image/png"}
PICTURE_SUFFIXES: tuple[str, ...] = tuple(_METADATA)

INK, SOFT, FAINT, PAPER = "#1f2933", "#6b7785", "#d8dee5", "#ffffff"
WAVE, BEAT, DOWNBEAT, ONSET = "#8fa3b8", "#2a7de1", "#d1495b", "#2e9e6b"
#: Each drum's colour: one a group of drums.
DRUM_COLOURS: dict[str, str] = {
    "kick": "#d1495b",
    "snare": "#e08e2b",
    **dict.fromkeys(("tom_low", "tom_mid", "tom_high"), "#8c6bb1"),
    **dict.fromkeys(("hihat_closed", "hihat_open", "hihat_pedal"), "#2a7de1"),
    "ride": "#2e9e6b",
    "crash": "#1f8a9e",
}

#: Fonts with the letters of East Asia, where one is installed.
_OTHER_SCRIPTS = (
    "Noto Sans CJK JP",
    "Noto Sans JP",
    "Source Han Sans JP",
    "Hiragino Sans",
    "Yu Gothic",
    "MS Gothic",
    "IPAexGothic",
    "WenQuanYi Zen Hei",
)

_STYLE: dict[str, Any] = {
    "font.size": 9,
    "font.family": "sans-serif",
    "axes.edgecolor": FAINT,
    "text.color": INK,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "axes.labelcolor": SOFT,
    "text.parse_math": False,
    "svg.hashsalt": "backbeat",
}


@cache
def _families() -> list[str]:
    """Return the fonts to take letters from, the first that has one: matplotlib's own, then those for other scripts."""
    from matplotlib.font_manager import fontManager

    installed = {font.name for font in fontManager.ttflist}
    return ["DejaVu Sans", *(name for name in _OTHER_SCRIPTS if name in installed)]


@contextmanager
def drawing(path: Path, width_in: float, height_in: float, dpi: int = 160) -> Iterator[Any]:
    """Give a figure to draw on; write it to `path`, atomically, when the block ends well.

    Raises
    ------
    ConfigError
        If the suffix of `path` is not one of `PICTURE_SUFFIXES`.
    """
    suffix = path.suffix.lower()
    if suffix not in _METADATA:
        raise ConfigError(f"{path}: a picture is one of {', '.join(PICTURE_SUFFIXES)}")
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with mpl.rc_context({**_STYLE, "font.sans-serif": _families()}), warnings.catch_warnings():
        # A name may hold any script; a box in place of a letter is no reason to refuse the picture.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure = Figure(figsize=(width_in, height_in), dpi=dpi, facecolor=PAPER, layout="constrained")
        FigureCanvasAgg(figure)
        yield figure
        # The last per cent of a large picture would take seconds to save.
        is_large = width_in * height_in * dpi**2 > _LARGE_PX
        extra: dict[str, Any] = {"pil_kwargs": {"optimize": True}} if suffix == ".png" and not is_large else {}
        with atomic_path(path) as temporary:
            figure.savefig(temporary, dpi=dpi, metadata=_METADATA[suffix], **extra)


def data_uri(path: Path) -> str:
    """Return a picture as a data URI."""
    return f"data:{_MIME[path.suffix]};base64,{base64.b64encode(path.read_bytes()).decode('ascii')}"


def plain_axes(axes: Any) -> None:
    """Take away what frames and ticks add without saying anything."""
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(length=0, labelsize=8)


def title(axes: Any, text: str, below: str = "") -> None:
    """Set a bold title at the left, and a softer line under it."""
    axes.set_title(text, loc="left", fontsize=11.5, fontweight="bold", pad=20 if below else 8)
    if below:
        axes.annotate(
            below,
            (0, 1),
            (0, 6),
            xycoords="axes fraction",
            textcoords="offset points",
            fontsize=9,
            color=SOFT,
            va="bottom",
        )
