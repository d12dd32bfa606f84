"""Mixing stems and mastering the mix, with everything drawn at random.

Two steps, because separation needs the first without the second:

1. `mix` treats each stem by itself (tone, dynamics, movement, room) and adds sounds that are no music to the stem
   "other". The mixture is exactly the sum of the stems.
2. `master` takes the mixture to what a listener gets: tone, loudness, media noise, bandwidth, codec, level. It is not
   linear, so mastered audio is no sum of stems.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from backbeat.corpus.rendered import noises
from backbeat.corpus.rendered.effects import (
    EffectsParams,
    biquad,
    chorus,
    compress,
    equalise,
    limit,
    pump,
    random_tone,
    reverberate,
    room,
    saturate,
    tremolo,
    widen,
)
from backbeat.corpus.rendered.kits import SYNTHESIS_RATE_HZ, Samples

#: Peak of the mixture after `mix`: room for the sum of stems to be written without clipping.
MIX_PEAK = 0.8

#: Codecs of lossy round trips, the common ones more often.
_CODECS: tuple[Literal["mp3", "aac", "opus", "vorbis"], ...] = ("mp3", "mp3", "aac", "opus", "vorbis")


def _level(samples: Samples) -> float:
    """Return the RMS of all channels, never 0."""
    return float(np.sqrt(np.mean(np.square(samples)))) + 1e-9


def _sum(stems: Mapping[str, Samples]) -> Samples:
    total = np.zeros_like(next(iter(stems.values())))
    for samples in stems.values():
        total += samples
    return total


def mix(
    stems: Mapping[str, Samples],
    kicks_s: Sequence[float],
    rng: np.random.Generator,
    params: EffectsParams,
    *,
    pumping: bool = False,
    keep_stems: bool = False,
) -> tuple[Samples, dict[str, Samples]]:
    """Treat and sum stems.

    Parameters
    ----------
    stems
        Name to shape (channels, samples).
    kicks_s
        Times at which the other stems are ducked where `pumping` asks for it.
    pumping
        Whether the style likes side-chained compression; even then only some tracks get it.
    keep_stems
        Whether to give each stem its own share of the room. The sum is the same but for rounding; one room for the
        whole mix is faster.

    Returns
    -------
    The mixture, shape (channels, samples), peak `MIX_PEAK`; and the stems that sum to it (empty unless `keep_stems`).
    """
    treated: dict[str, Samples] = {}
    strength = params.strength
    for name, samples in stems.items():
        if not samples.any():
            treated[name] = samples
            continue
        wet = equalise(samples, random_tone(rng, 0.6 * strength)) if strength > 0 else samples
        if rng.random() < 0.5 * params.dynamics * strength:
            wet = _squeezed(wet, rng)
        if name != "drums" and rng.random() < 0.12 * strength:
            wet = chorus(wet, rng.uniform(0.2, 1.2), rng.uniform(0.001, 0.004), rng.uniform(0.3, 0.8))
        if name == "other" and rng.random() < 0.08 * strength:
            wet = tremolo(wet, rng.uniform(2.5, 8), rng.uniform(0.2, 0.7), rng.uniform(0, 6))
        treated[name] = wet * np.float32(10 ** (np.clip(rng.normal(0, 2.2 * strength), -7, 5) / 20))
    if params.drums > 0 and "drums" in treated and treated["drums"].any():
        treated["drums"] = _drum_room(treated["drums"], rng.spawn(1)[0], params.drums)
    if pumping and rng.random() < 0.5 * strength:
        depth, recovery_s = rng.uniform(0.3, 0.9), rng.uniform(0.06, 0.2)
        treated |= {name: pump(treated[name], kicks_s, depth, recovery_s) for name in treated if name != "drums"}
    total = _sum(treated)
    if rng.random() < params.distractors * strength and "other" in treated:
        added = _distractor(rng, total)
        treated["other"] = treated["other"] + added
        total = total + added
    if rng.random() < params.reverb * strength:
        total = _roomed(total, treated, rng, keep_stems=keep_stems)
    gain = np.float32(MIX_PEAK / max(float(np.abs(total).max()), 1e-6))
    return total * gain, {name: samples * gain for name, samples in treated.items()} if keep_stems else {}


def _squeezed(samples: Samples, rng: np.random.Generator) -> Samples:
    level_db = 20 * np.log10(_level(samples))
    ratio = float(rng.choice([2.0, 4.0, 10.0]))
    attack_s, release_s = float(rng.uniform(0.001, 0.03)), float(rng.uniform(0.04, 0.3))
    squeezed = compress(
        samples, threshold_db=level_db + rng.uniform(0, 9), ratio=ratio, attack_s=attack_s, release_s=release_s
    )
    if rng.random() < 0.5:
        squeezed = saturate(squeezed, -level_db - rng.uniform(6, 16))
    return squeezed * np.float32(_level(samples) / _level(squeezed))


def _distractor(rng: np.random.Generator, total: Samples) -> Samples:
    """Draw a singer, a talker or a crowd at -16 to +2 dB of the music, shape of `total`."""
    crowd = rng.random() < 0.2
    sound = (noises.babble if crowd else noises.voice)(rng, total.shape[1])
    gain = 10 ** (rng.uniform(-16, -4 if crowd else 2) / 20) * _level(total)
    return np.asarray(np.broadcast_to(np.float32(gain) * sound, total.shape), dtype=np.float32)


def _drum_room(samples: Samples, rng: np.random.Generator, share: float) -> Samples:
    """Put a kit before its room's microphones, often as loud as those at the drums; with a chance that `share` sets."""
    if rng.random() > 0.7 * share:
        return samples
    decay_s = float(np.exp(rng.uniform(np.log(0.08), np.log(0.9))))
    response = room(rng, decay_s, rng.uniform(0, 0.012), rng.uniform(2500, 12000), samples.shape[0])
    return samples + np.float32(10 ** (rng.uniform(-20, -1) / 20)) * reverberate(samples, response)


def _roomed(total: Samples, treated: dict[str, Samples], rng: np.random.Generator, *, keep_stems: bool) -> Samples:
    """Add one room to everything, in place in `treated` where stems are kept; return the new total."""
    decay_s = float(np.exp(rng.uniform(np.log(0.12), np.log(2.2))))
    response = room(rng, decay_s, rng.uniform(0, 0.03), rng.uniform(1500, 8000), total.shape[0])
    # The room's response has unit energy: this is its level against the direct sound.
    share = np.float32(10 ** (rng.uniform(-24, -7) / 20))
    if not keep_stems:
        return total + share * reverberate(total, response)
    for name, samples in treated.items():
        if samples.any():
            treated[name] = samples + share * reverberate(samples, response)
    return _sum(treated)


def master(mixture: Samples, rng: np.random.Generator, params: EffectsParams) -> Samples:
    """Take a mixture to what a listener gets, shape (channels, samples), within -1..1, every event where it was."""
    strength = params.strength
    out = mixture
    if strength > 0:
        sections = random_tone(rng, 0.7 * strength)
        if rng.random() < params.band_limit * strength:
            sections += [
                biquad("high_pass", float(rng.uniform(40, 350))),
                biquad("low_pass", float(rng.uniform(3000, 11000))),
            ]
        out = widen(equalise(out, sections), float(rng.uniform(0.2, 1.5)))
    if rng.random() < params.dynamics * strength:
        out = _squeezed(out, rng)
    if rng.random() < params.noise * strength:
        out = _noisy(out, rng)
    if rng.random() < params.band_limit * strength:
        out = _narrowed(out, rng)
    out = _levelled(out, rng, strength)
    if rng.random() < params.codec * strength:
        out = _coded(out, rng, params.codec_bitrates_bps)
    return np.asarray(np.clip(out, -1, 1), dtype=np.float32)


def _noisy(samples: Samples, rng: np.random.Generator) -> Samples:
    level = _level(samples)
    kind = int(rng.integers(3))
    noise = (noises.hiss, noises.hum, noises.crackle)[kind](rng, samples.shape[1])
    if kind == 2:
        gain = float(np.abs(samples).max()) * 10 ** (rng.uniform(-30, -8) / 20)
    else:
        gain = level * 10 ** (rng.uniform(-45, -16) / 20)
    return samples + np.float32(gain) * noise


def _narrowed(samples: Samples, rng: np.random.Generator) -> Samples:
    """Take the sound through a lower sample rate (8 to 22.05 kHz) or fewer bits, and back."""
    import soxr

    if rng.random() < 0.3:
        steps = 2.0 ** float(rng.integers(7, 12))
        peak = max(float(np.abs(samples).max()), 1e-6)
        return np.asarray(np.round(samples / peak * steps) * (peak / steps), dtype=np.float32)
    rate_hz = int(rng.choice([8000, 11025, 16000, 22050]))
    low = soxr.resample(samples.T, SYNTHESIS_RATE_HZ, rate_hz, quality="MQ")
    back = soxr.resample(low, rate_hz, SYNTHESIS_RATE_HZ, quality="MQ").T
    out = np.zeros_like(samples)
    count = min(out.shape[1], back.shape[1])
    out[:, :count] = back[:, :count]
    return out


def _levelled(samples: Samples, rng: np.random.Generator, strength: float) -> Samples:
    """Set the final level: mostly near full scale, some quiet, some pushed into a limiter, a few clipped."""
    peak = max(float(np.abs(samples).max()), 1e-6)
    kind = rng.random()
    push_db = rng.uniform(2, 9)
    quiet_db = rng.uniform(-26, -6)
    polarity = np.float32(-1 if rng.random() < 0.5 else 1)
    if strength > 0 and kind < 0.35:
        return limit(samples * np.float32(polarity * 0.98 / peak * 10 ** (push_db / 20)))
    if strength > 0 and kind < 0.42:
        pushed = samples * np.float32(polarity / peak * 10 ** (push_db / 40))
        return np.asarray(np.clip(pushed, -1, 1), dtype=np.float32)
    if strength > 0 and kind < 0.6:
        return samples * np.float32(polarity / peak * 10 ** (quiet_db / 20))
    return samples * np.float32((polarity if strength > 0 else 1) * 0.9 / peak)


def _coded(samples: Samples, rng: np.random.Generator, bitrates_bps: tuple[int, int]) -> Samples:
    from backbeat.audio import codec_roundtrip

    codec = _CODECS[int(rng.integers(len(_CODECS)))]
    low, high = bitrates_bps
    # Whole multiples of 16 kbit/s, which every codec of the list takes.
    bitrate_bps = int(rng.integers(-(-low // 16_000), high // 16_000 + 1)) * 16_000
    return codec_roundtrip(samples, SYNTHESIS_RATE_HZ, codec, bitrate_bps)
