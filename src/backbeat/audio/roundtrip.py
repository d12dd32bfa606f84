"""Through a lossy codec and back in memory: the artefacts that music on the net carries, for training data."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from backbeat.audio.encode import checked_samples, lossy_layout, refuse_shape, write_av, write_sndfile
from backbeat.audio.mixing import resample
from backbeat.audio.probe import inspect
from backbeat.audio.readers import read_blocks
from backbeat.errors import ConfigError

LossyCodec = Literal["mp3", "aac", "opus", "vorbis"]
_CONTAINERS = {"mp3": "mp3", "aac": "ipod", "opus": "ogg"}


def codec_roundtrip(
    samples: NDArray[np.floating], sample_rate_hz: int, codec: LossyCodec, bitrate_bps: int
) -> NDArray[np.float32]:
    """Encode and decode samples; the result has the same shape and lies at the same time.

    The delay of each encoder is taken off as its file declares it (LAME tag, edit list, pre-skip), so nothing shifts;
    Opus passes through 48 kHz. The same input gives the same output.

    Parameters
    ----------
    samples
        Shape (channels, samples), full scale ±1.
    sample_rate_hz
        Of `samples`.
    codec
        `mp3`, `aac`, `opus` or `vorbis`.
    bitrate_bps
        Bits a second of all channels together; Vorbis takes the quality that is nearest to it.

    Returns
    -------
    NDArray[np.float32]
        Shape (channels, samples).

    Raises
    ------
    UnsupportedAudioError
        If the codec does not have the rate or the channels.
    ConfigError
        If the codec is unknown, or samples or bit rate make no sense.
    """
    if codec not in get_args(LossyCodec):
        raise ConfigError(f"no codec {codec!r}: choose among {', '.join(get_args(LossyCodec))}")
    data = checked_samples(samples, sample_rate_hz, bitrate_bps)
    length = data.shape[1]
    name = Path(f"<{codec} in memory>")
    stream = io.BytesIO()
    if codec == "vorbis":
        refuse_shape(name, ".ogg", data.shape[0], sample_rate_hz)
        write_sndfile(stream, "OGG", "VORBIS", data, sample_rate_hz, bitrate_bps, None)
    else:
        layout = lossy_layout(name, codec, data.shape[0], sample_rate_hz)
        write_av(stream, _CONTAINERS[codec], codec, data, sample_rate_hz, layout, bitrate_bps, None)
    source = inspect(name, stream, len(stream.getbuffer()))
    notes: list[str] = []
    out = np.concatenate(list(read_blocks(source, source.readers[0], notes)), axis=1)
    out = resample(out, source.info.sample_rate_hz, sample_rate_hz)[:, :length]
    return np.pad(out, ((0, 0), (0, length - out.shape[1])))
