"""The sounds of a chart: one short file for each lane, so that a player has something to strike.

They are rendered from a General MIDI soundfont. A rendered stroke holds the soundfont's recording of it, so the
soundfont's licence goes with the files. The default, TimGM6mb by Tim Brechbill, which comes with `pretty_midi`, is
under the GPL, version 2: whoever passes a chart on together with its sounds should pass them on under that licence, or
name a soundfont of their own. A chart without its sounds holds nothing of the soundfont.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from backbeat.charts.chart import LANES
from backbeat.charts.midi import MIDI_NOTES
from backbeat.errors import ConfigError

if TYPE_CHECKING:
    from backbeat.corpus.rendered.kits import Hit

#: The General MIDI percussion note that each lane sounds: toms lie further apart than on paper, to be told by ear.
LANE_NOTES: Mapping[str, int] = {**MIDI_NOTES, "tom_high": 50, "tom_mid": 47, "tom_low": 43}

#: Loudness of each lane against the kick, in dB: drums alike, metal behind them, as in a recording of a kit.
_LEVELS_DB: Mapping[str, float] = {
    "crash_left": -4.0,
    "hihat_closed": -8.0,
    "hihat_open": -7.0,
    "hihat_pedal": -10.0,
    "snare": 0.0,
    "tom_high": -1.0,
    "kick": 0.0,
    "tom_mid": -1.0,
    "tom_low": -1.0,
    "crash_right": -4.0,
    "ride": -10.0,
    "ride_bell": -6.0,
}
#: The loudest sample of a whole kit, dB of full scale.
_PEAK_DB = -1.0

#: The longest that lanes ring; the others for `_RING_S`.
_RINGS_S: Mapping[str, float] = {
    "crash_left": 2.4,
    "crash_right": 2.4,
    "ride": 1.8,
    "ride_bell": 1.8,
    "hihat_open": 1.0,
}
_RING_S = 1.2
#: A sound is over where it stays this far below its peak; what is left of it fades over this share of its length.
_OVER_DB, _FADE_SHARE = -55.0, 0.3
#: Samples before the attack that are kept, fading in: 0.4 ms, without which a stroke clicks.
_RUN_UP = 16
#: How hard the strokes are struck, of 127: what a player's loudest notes sound like.
_VELOCITY = 105


def write_kit(folder: Path, lanes: Iterable[str] = LANES, soundfont: Path | None = None) -> dict[str, str]:
    """Write a sound for each lane to `folder`: WAV, mono, 16 bits, 44.1 kHz, the same bytes on every call.

    A sound begins at its attack and ends in a fade. The lanes are balanced by their loudness (BS.1770-4's weighting
    over the loudest 0.1 s), and the kit as a whole reaches -1 dB of full scale.

    Parameters
    ----------
    folder
        Made where there is none; each file appears whole or not at all.
    lanes
        Those of `LANES` that are wanted. What a lane sounds like does not depend on which others are.
    soundfont
        An SF2 file whose standard kit (bank 128, preset 0) is played; None for that of `pretty_midi`. Where it lacks a
        note, a neighbour of the same drum is taken (the ride for its bell, say).

    Returns
    -------
    Lane to file name, in the order of `LANES`.

    Raises
    ------
    ConfigError
        If a lane is unknown, or the soundfont has no sound for one.
    CorpusError
        If the soundfont is missing or is none.
    """
    from backbeat.audio import encode
    from backbeat.corpus.rendered.kits import SYNTHESIS_RATE_HZ

    wanted = set(lanes)
    if unknown := sorted(wanted - set(LANES)):
        raise ConfigError(f"unknown lane {unknown[0]!r}; the lanes are {', '.join(LANES)}")
    sounds = kit_sounds(soundfont)
    files = {lane: f"{lane}.wav" for lane in LANES if lane in wanted}
    for lane, name in files.items():
        encode(Path(folder) / name, sounds[lane], SYNTHESIS_RATE_HZ)
    return files


def kit_sounds(soundfont: Path | None = None) -> dict[str, NDArray[np.float32]]:
    """Return the sound of every lane, shape (samples,) at 44.1 kHz, full scale ±1; parameters and errors as above."""
    from backbeat.corpus.rendered.kits import substitute
    from backbeat.corpus.rendered.synthesise import SoundfontKit, default_soundfont, load_soundfont

    kit = SoundfontKit(load_soundfont(default_soundfont() if soundfont is None else Path(soundfont)), 0)
    sounds: dict[str, NDArray[np.float64]] = {}
    for lane in LANES:
        pitch = substitute(kit, LANE_NOTES[lane]) if kit.font.has(128, 0) else None
        if pitch is None:
            raise ConfigError(
                f"{kit.font.name}: has no sound for {lane} (note {LANE_NOTES[lane]} of bank 128, preset 0); "
                "name a soundfont with a General MIDI drum kit"
            )
        sound = _trimmed(kit.alternatives(pitch, _VELOCITY)[0], _RINGS_S.get(lane, _RING_S))
        sounds[lane] = sound * 10 ** ((_LEVELS_DB[lane] - _loudness_db(sound)) / 20)
    peak = max(float(np.abs(sound).max()) for sound in sounds.values())
    return {lane: (sound * (10 ** (_PEAK_DB / 20) / peak)).astype(np.float32) for lane, sound in sounds.items()}


def _trimmed(hit: Hit, longest_s: float) -> NDArray[np.float64]:
    """Return the stroke from its attack on, until it is over, fading in and out; shape (samples,)."""
    from backbeat.corpus.rendered.kits import SYNTHESIS_RATE_HZ

    run_up = min(_RUN_UP, hit.attack)
    sound = hit.samples[hit.attack - run_up :].astype(np.float64)[: round(longest_s * SYNTHESIS_RATE_HZ)]
    heard = np.flatnonzero(np.abs(sound) > np.abs(sound).max() * 10 ** (_OVER_DB / 20))
    sound = sound[: heard[-1] + 1]
    sound[:run_up] *= np.linspace(0, 1, run_up, endpoint=False)
    fading = max(1, round(_FADE_SHARE * sound.size))
    sound[-fading:] *= 0.5 + 0.5 * np.cos(np.linspace(0, np.pi, fading))
    return sound


def _loudness_db(sound: NDArray[np.float64]) -> float:
    """Return the weighted power of the loudest 0.1 s, dB; a shorter sound counts as 0.1 s."""
    from scipy.signal import sosfilt

    from backbeat.audio.loudness import k_weighting
    from backbeat.corpus.rendered.kits import SYNTHESIS_RATE_HZ

    window = SYNTHESIS_RATE_HZ // 10
    power = np.square(sosfilt(k_weighting(SYNTHESIS_RATE_HZ), np.pad(sound, (0, window))))
    passed = np.concatenate([[0.0], np.cumsum(power)])
    return float(10 * np.log10((passed[window:] - passed[:-window]).max() / window))
