"""Music of which everything is known: pieces from seeds far from those of training, plainly mixed."""

from pathlib import Path

import numpy as np

from backbeat.audio import encode
from backbeat.corpus.rendered.compose import ComposeParams, compose
from backbeat.corpus.rendered.effects import EffectsParams
from backbeat.corpus.rendered.render import render_score
from backbeat.corpus.rendered.score import Score
from backbeat.corpus.rendered.synthesise import Sources, default_soundfont
from backbeat.music import Onsets


def write_rock(path: Path, duration_s: float) -> tuple[Score, Onsets]:
    """Write a piece of rock with drums; return its score and what is to be heard."""
    score = compose("rock-test", 987_654, ComposeParams(duration_s=duration_s, style="rock", drumless_share=0.0))
    sources = Sources(soundfonts=(default_soundfont(),))
    sound = render_score(score, np.random.SeedSequence(5), sources, EffectsParams(strength=0.0))
    encode(path, sound.audio, 44100)
    return score, sound.onsets
