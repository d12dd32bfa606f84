"""Spleeter's U-Nets in torch: a mask for each instrument from the magnitudes of a mixture.

The networks are those of Hennequin, Khlif, Voituret and Moussallam, "Spleeter: a fast and efficient music source
separation tool with pre-trained models" (JOSS 5(50), 2020), after Jansson et al., "Singing voice separation with deep
U-net convolutional networks" (ISMIR 2017), as the program of version 2.4.2 builds them, to the last detail: what is
passed along a level is the convolution before its normalisation; padding is TensorFlow's, uneven where the stride is
two; decoders normalise after the activation.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from backbeat.errors import ConfigError

_ACTIVATIONS = ("relu", "elu", "leaky_relu")
_LEAK = 0.2
# As Keras has them, with whose statistics the official weights come.
_NORM_EPSILON, _NORM_MOMENTUM = 1e-3, 0.01
_EPSILON = 1e-10
_FEW_CHANNELS = 16
# For even and odd outputs, the taps of five through which they hear the input before, at and behind; 5 is none.
_TAPS = torch.tensor([[3, 1, 5], [4, 2, 0]])


@dataclass(frozen=True)
class SeparatorParams:
    """What a separation network is.

    Parameters
    ----------
    instruments
        Names of the stems, in the order of the U-Nets.
    joint_softmax
        Whether the masks are a softmax over instruments (Spleeter's `softmax_unet`), or a sigmoid each (`unet`).
    encoder, decoder
        Activations: "relu", "elu" or "leaky_relu" (slope 0.2).
    filters
        Of the six levels.
    frame_length, frame_step
        Of the short-time Fourier transform, samples; the Hann window overlaps fourfold.
    bins
        Lowest bins of the transform that the network hears; the rest is masked out of every stem.
    segment_frames
        Frames that the network hears at once; a multiple of 64, as `bins` is.
    sample_rate_hz
        Of the audio. It is stereo.
    exponent
        Masks are the shares of the outputs to this power.

    Raises
    ------
    ConfigError
        If the numbers make no network.
    """

    instruments: tuple[str, ...]
    joint_softmax: bool = False
    encoder: str = "leaky_relu"
    decoder: str = "relu"
    filters: tuple[int, ...] = (16, 32, 64, 128, 256, 512)
    frame_length: int = 4096
    frame_step: int = 1024
    bins: int = 1024
    segment_frames: int = 512
    sample_rate_hz: int = 44100
    exponent: float = 2.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "instruments", tuple(self.instruments))  # lists, when they come from JSON
        object.__setattr__(self, "filters", tuple(self.filters))
        if not self.instruments or len(set(self.instruments)) != len(self.instruments):
            raise ConfigError("a separator needs instruments, each named once")
        if self.encoder not in _ACTIVATIONS or self.decoder not in _ACTIVATIONS:
            raise ConfigError(f"activations must be of {', '.join(_ACTIVATIONS)}")
        if len(self.filters) != 6 or min(self.filters) < 1:
            raise ConfigError("a U-Net has six levels with at least one filter each")
        if self.frame_length != 4 * self.frame_step:
            raise ConfigError("frames must overlap fourfold: a frame of 4 steps")
        if self.bins % 64 or self.segment_frames % 64 or not 0 < self.bins <= self.frame_length // 2:
            raise ConfigError("bins and segment_frames must be multiples of 64, the former at most half a frame")

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain values for JSON."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}


class _Convolution(nn.Module):
    """A convolution of stride two with TensorFlow's "same" padding: one row less before than behind."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(before, after, 5, stride=2)

    def forward(self, maps: Tensor) -> Tensor:
        padded: Tensor = self.conv(F.pad(maps, (1, 2, 1, 2)))
        return padded


class _Transposed(nn.Module):
    """The transposed convolution that doubles both sides, cut as TensorFlow cuts it."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.conv = nn.ConvTranspose2d(before, after, 5, stride=2, padding=1)
        # With few channels a processor is up to four times as quick with one convolution for each place of four.
        self.by_places = after <= _FEW_CHANNELS

    def forward(self, maps: Tensor) -> Tensor:
        if self.by_places and not maps.is_cuda and not torch.is_grad_enabled():
            return self._by_places(maps)
        whole: Tensor = self.conv(maps)
        return whole[..., : 2 * maps.shape[-2], : 2 * maps.shape[-1]]

    def _by_places(self, maps: Tensor) -> Tensor:
        """Convolve once for even and odd rows and columns each (Shi et al., CVPR 2016, section 3.2), the same sums."""
        # An output 2p + a hears the input p + t - 1 through tap a + 3 - 2t of the five, where there is one.
        weight = F.pad(self.conv.weight, (0, 1, 0, 1))[:, :, _TAPS][..., _TAPS]  # in, out, a, t, b, s
        weight = weight.permute(1, 2, 4, 0, 3, 5).flatten(0, 2)
        bias = None if self.conv.bias is None else self.conv.bias.repeat_interleave(4)
        return F.pixel_shuffle(F.conv2d(maps, weight, bias, padding=1), 2)


class _Elu(nn.Module):
    """nn.ELU, by parts that torch has vectorised for processors: a tenth of the time where no gradient is wanted."""

    def forward(self, maps: Tensor) -> Tensor:
        if maps.requires_grad:
            return F.elu(maps)
        return maps.clamp_max(0.0).exp_().sub_(1.0).add_(maps.clamp_min(0.0))


def _activation(name: str) -> nn.Module:
    return nn.LeakyReLU(_LEAK) if name == "leaky_relu" else _Elu() if name == "elu" else nn.ReLU()


class UNet(nn.Module):
    """One instrument's network: from magnitudes to the logits of a mask."""

    def __init__(self, params: SeparatorParams) -> None:
        super().__init__()
        down, up = params.filters, (*params.filters[-2::-1], 1)
        self.down = nn.ModuleList(
            _Convolution(before, after) for before, after in zip((2, *down[:-1]), down, strict=True)
        )
        self.down_norms = nn.ModuleList(nn.BatchNorm2d(filters, _NORM_EPSILON, _NORM_MOMENTUM) for filters in down[:-1])
        # From the second on, an upper level hears the one below and what was passed along, alike in number.
        below = (down[-1], *(2 * filters for filters in up[:-1]))
        self.up = nn.ModuleList(_Transposed(before, after) for before, after in zip(below, up, strict=True))
        self.up_norms = nn.ModuleList(nn.BatchNorm2d(filters, _NORM_EPSILON, _NORM_MOMENTUM) for filters in up)
        self.mask = nn.Conv2d(1, 2, 4, dilation=2)
        self.encode, self.decode = _activation(params.encoder), _activation(params.decoder)
        # In training the deepest three levels of the decoder are dropped by half.
        self.dropout = nn.Dropout(0.5)

    def forward(self, magnitudes: Tensor) -> Tensor:
        """Map (batch, 2, frames, bins), both multiples of 64, to logits of the same shape."""
        maps, passed = magnitudes, []
        for level, convolution in enumerate(self.down):
            maps = convolution(maps)
            if level < len(self.down_norms):
                passed.append(maps)
                maps = self.encode(self.down_norms[level](maps))
        for level, (convolution, norm) in enumerate(zip(self.up, self.up_norms, strict=True)):
            maps = norm(self.decode(convolution(maps)))
            if level < 3:
                maps = self.dropout(maps)
            if passed:
                maps = torch.cat([passed.pop(), maps], dim=1)
        logits: Tensor = self.mask(F.pad(maps, (3, 3, 3, 3)))
        return logits


class SeparatorNetwork(nn.Module):
    """A U-Net for each instrument, and how their answers become masks.

    Parameters
    ----------
    params
        What it is made of.
    """

    def __init__(self, params: SeparatorParams) -> None:
        super().__init__()
        self.params = params
        self.nets = nn.ModuleDict({name: UNet(params) for name in params.instruments})
        self.laid_out()

    def laid_out(self) -> SeparatorNetwork:
        """Return the network with its weights' channels innermost: a processor needs a quarter less time so."""
        laid_out: SeparatorNetwork = self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return laid_out

    def spectrograms(self, magnitudes: Tensor) -> Tensor:
        """Map (batch, 2, frames, bins) to the magnitudes of each instrument, (instruments, batch, 2, frames, bins)."""
        heard = magnitudes.contiguous(memory_format=torch.channels_last)
        logits = torch.stack([net(heard).contiguous() for net in self.nets.values()])
        shares = torch.softmax(logits, dim=0) if self.params.joint_softmax else torch.sigmoid(logits)
        return shares * magnitudes

    def forward(self, magnitudes: Tensor) -> Tensor:
        """Map (batch, 2, frames, bins) to masks (instruments, batch, 2, frames, bins), which sum to 1."""
        powers = self.spectrograms(magnitudes) ** self.params.exponent
        masks: Tensor = (powers + _EPSILON / len(self.nets)) / (powers.sum(dim=0) + _EPSILON)
        return masks
