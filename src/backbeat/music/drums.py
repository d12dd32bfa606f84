"""The ten drum classes, and which General MIDI percussion note means which."""

from __future__ import annotations

#: The drums that a model tells apart, in the order of its outputs.
DRUMS: tuple[str, ...] = (
    "kick",
    "snare",
    "hihat_closed",
    "hihat_open",
    "hihat_pedal",
    "tom_high",
    "tom_mid",
    "tom_low",
    "crash",
    "ride",
)

#: The class of an onset that is not one of the drums: a pitched note, or percussion of another kind.
NOTE = "note"

#: Every class that an `.onsets` file may name.
ONSET_CLASSES: tuple[str, ...] = (*DRUMS, NOTE)

#: MIDI note to drum class: General MIDI level 1, with the edge and rim notes of Roland's TD kits (22, 26, 58) that
#: the Groove MIDI Dataset uses. Percussion that is none of the ten (cowbell, congas...) is absent.
GENERAL_MIDI_DRUMS: dict[int, str] = {
    35: "kick",
    36: "kick",
    37: "snare",
    38: "snare",
    39: "snare",
    40: "snare",
    22: "hihat_closed",
    42: "hihat_closed",
    26: "hihat_open",
    46: "hihat_open",
    44: "hihat_pedal",
    48: "tom_high",
    50: "tom_high",
    45: "tom_mid",
    47: "tom_mid",
    41: "tom_low",
    43: "tom_low",
    58: "tom_low",
    49: "crash",
    52: "crash",
    55: "crash",
    57: "crash",
    51: "ride",
    53: "ride",
    59: "ride",
}
