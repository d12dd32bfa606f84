"""The network that hears beats and downbeats."""

from __future__ import annotations

from backbeat.layers import EventNetwork


class BeatNetwork(EventNetwork):
    """A temporal convolutional network at half the frame rate; logits of beat and downbeat.

    A spectral stem, then dilated residual blocks whose view reaches well over ten seconds to either side (Davies and
    Böck, EUSIPCO 2019; Böck and Davies, ISMIR 2020). Parameters as of `backbeat.layers.SequenceNetwork`.
    """

    time_stride = 2
    outputs = 2
