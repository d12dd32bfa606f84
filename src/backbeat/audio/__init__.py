"""Waveforms in and out of files.

`decode` turns any audio file into samples or raises one clear error, `probe` reads its headers only, `encode` writes
files, and `codec_roundtrip` gives samples the marks of a lossy codec. Importing this loads no decoder.
"""

from backbeat.audio.decode import Audio, decode
from backbeat.audio.encode import encode
from backbeat.audio.find import AUDIO_SUFFIXES, find_audio
from backbeat.audio.limits import AudioLimits
from backbeat.audio.mixing import resample
from backbeat.audio.probe import AudioInfo, probe
from backbeat.audio.roundtrip import codec_roundtrip

__all__ = [
    "AUDIO_SUFFIXES",
    "Audio",
    "AudioInfo",
    "AudioLimits",
    "codec_roundtrip",
    "decode",
    "encode",
    "find_audio",
    "probe",
    "resample",
]
