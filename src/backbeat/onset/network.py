"""The network that hears onsets and tells drums apart."""

from __future__ import annotations

from backbeat.layers import EventNetwork
from backbeat.music import DRUMS


class OnsetNetwork(EventNetwork):
    """A convolutional network at the full frame rate; logits of any onset, each drum, and each drum's velocity.

    Convolutions over time and frequency are what Schlüter and Böck, "Improved musical onset detection with
    convolutional neural networks", ICASSP 2014, found best; velocity is estimated frame by frame beside the activation
    as by Callender, Hawthorne and Engel, "Improving perceptual quality of drum transcription with the Expanded Groove
    MIDI Dataset", 2020. Parameters as of `backbeat.layers.SequenceNetwork`.
    """

    outputs = 1 + 2 * len(DRUMS)
