"""All files of a chart, in one folder: DTX by difficulty, set.def, music, preview, sounds, MIDI, JSON and a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backbeat import __version__
from backbeat.audio import AudioLimits
from backbeat.charts.backing import mixed, write_backing, write_preview
from backbeat.charts.chart import Chart
from backbeat.charts.chart_json import ChartDocument, write_chart_json
from backbeat.charts.dtx.set_def import write_set_def
from backbeat.charts.dtx.text import cp932_text, plain_text
from backbeat.charts.dtx.writer import DtxHeader, Sound, write_dtx
from backbeat.charts.kit import write_kit
from backbeat.charts.midi import write_midi
from backbeat.charts.picture.plots import headline, plot_chart

#: What a folder of a chart says of itself.
RECORD = "chart.json"
#: The files by what they are; those of the difficulties are called as players of DTX call them.
FILES: Mapping[str, str] = {
    "basic": "bas.dtx",
    "advanced": "adv.dtx",
    "extreme": "ext.dtx",
    "set": "set.def",
    "music": "bgm.ogg",
    "preview": "preview.ogg",
    "midi": "chart.mid",
    "json": RECORD,
    "picture": "chart.png",
}
_UNTITLED = "Untitled"
#: Where the drums of a kit stand, as the player hears them: -100 (left) to 100.
_PANS = {
    "hihat_closed": -30,
    "hihat_open": -30,
    "hihat_pedal": -30,
    "crash_left": -50,
    "tom_high": -20,
    "tom_mid": 10,
    "tom_low": 30,
    "crash_right": 50,
    "ride": 40,
    "ride_bell": 40,
}


@dataclass(frozen=True, eq=False)
class Song:
    """What a chart says and plays of its song.

    Parameters
    ----------
    title, artist
        Any text.
    music
        The files that sound together as the background: the song, or its stems without the drums.
    outline
        Shape (2, points): lowest and highest sample of equal stretches of the audio.
    duration_s
        Of the audio.
    """

    title: str
    artist: str
    music: Sequence[Path]
    outline: NDArray[np.float32]
    duration_s: float


def write_folder(
    folder: Path,
    song: Song,
    chart: Chart,
    tiers: Mapping[str, Chart],
    report: Mapping[str, Any],
    *,
    plot: bool,
    soundfont: Path | None,
    limits: AudioLimits,
    spool: Path,
) -> tuple[dict[str, str], dict[str, Any]]:
    """Write all files of a chart.

    Parameters
    ----------
    folder
        Where to.
    song, chart
        What is charted, and all notes of it.
    tiers
        The charts to be played, the easiest first.
    report
        What is known of how the chart came about, its "levels" by tier among it.
    plot
        Whether to draw a picture.
    soundfont
        As of `write_kit`.
    limits, spool
        As of `mixed`.

    Returns
    -------
    The names of the files, by what they are, without those of the drums' sounds; and the report as the JSON has it.
    """
    title, artist = plain_text(song.title) or _UNTITLED, plain_text(song.artist)
    shown = cp932_text(title, default=_UNTITLED)
    names = [*tiers, "set", "music", "preview", "midi", "json", *(["picture"] if plot else [])]
    files = {name: FILES[name] for name in names}
    # Coding the music takes about as long as all the rest.
    with ThreadPoolExecutor(1, "backbeat-music") as beside:
        music = beside.submit(_write_music, folder, song, chart, limits, spool)
        kit = write_kit(folder, {note.lane for note in chart.notes}, soundfont)
        sounds = {lane: Sound(name, _PANS.get(lane, 0)) for lane, name in kit.items()}
        for tier, thinned in tiers.items():
            header = DtxHeader(
                title=shown,
                artist=artist,
                comment=f"{tier}, made by Backbeat {__version__}",
                level=report["levels"][tier],
                music=files["music"],
                preview=files["preview"],
                picture=files.get("picture"),
            )
            write_dtx(folder / files[tier], thinned, header, sounds)
        write_set_def(folder / files["set"], shown, {tier: files[tier] for tier in tiers})
        write_midi(folder / files["midi"], chart, title)
        if plot:
            below = " · ".join(part for part in (artist, headline(chart)) if part)
            plot_chart(folder / files["picture"], chart, song.outline, song.duration_s, title, below)
        told = {**report, "preview_s": round(music.result(), 3)}
    write_chart_json(folder / RECORD, ChartDocument(chart, title, artist, told))
    return files, told


def _write_music(folder: Path, song: Song, chart: Chart, limits: AudioLimits, spool: Path) -> float:
    """Write the music and the preview; return where the preview begins, seconds."""
    mix = mixed(song.music, limits=limits, spool=spool)
    write_backing(folder / FILES["music"], mix)
    return write_preview(folder / FILES["preview"], mix, chart)
