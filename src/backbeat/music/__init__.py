"""The vocabulary of music that every other module speaks.

Conventions: times are seconds from the start of the audio, float64; positions in the bar count from 1, which is the
downbeat; tempo is in beats a minute, the beat being the denominator's note of the time signature except in compound
meters (6/8, 9/8, 12/8), where it is the dotted quarter; velocities lie in (0, 1].
"""

from backbeat.music.drums import DRUMS, GENERAL_MIDI_DRUMS, NOTE, ONSET_CLASSES
from backbeat.music.events import Beats, Onsets
from backbeat.music.theory import Key, TimeSignature, parse_tempo_bpm

__all__ = [
    "DRUMS",
    "GENERAL_MIDI_DRUMS",
    "NOTE",
    "ONSET_CLASSES",
    "Beats",
    "Key",
    "Onsets",
    "TimeSignature",
    "parse_tempo_bpm",
]
