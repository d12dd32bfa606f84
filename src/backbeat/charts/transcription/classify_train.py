"""Training of the stroke classifier: rendered songs, what the onset model hears in them, and small networks on that.

Everything follows from a seed: songs are composed and rendered in memory (`backbeat.corpus.rendered`), the shipped
onset model hears each as it is and once more with another tone, level and bandwidth, and the networks learn in minutes
on two cores. No recording of music is used; drum sounds are those of the soundfonts and kits that are named.

The weights that ship were made by::

    python -m backbeat.charts.transcription.classify_train src/backbeat/weights/strokes --soundfonts FluidR3_GM.sf2 \
        MuseScore_General_Full.sf2 --kits kits/muldjord --performances groove

(data/README.md says where these come from.)
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from backbeat.charts.transcription.classify import StrokeClassifier, StrokeSpec
from backbeat.charts.transcription.classify_songs import HeardSong, StrokeTraining, heard_songs, jobs_of, listener
from backbeat.errors import BackbeatError, ConfigError
from backbeat.music import DRUMS
from backbeat.onset.score import WINDOW_S

#: A threshold is as good as the best if its F is no further below.
_AS_GOOD = 0.003
#: Thresholds that are tried.
_GRID = np.round(np.arange(0.06, 0.92, 0.02), 2)


def train(
    training: StrokeTraining, learned: Sequence[HeardSong], valid: Sequence[HeardSong]
) -> tuple[StrokeClassifier, dict[str, float]]:
    """Train a classifier on songs that were heard, and settle its thresholds on others.

    Returns
    -------
    The classifier, and its F by drum on the latter.

    Raises
    ------
    ConfigError
        If nothing is struck in them.
    """
    described = [song.described for song in learned if len(song.described)]
    if not described:
        raise ConfigError("nothing is struck in the songs to learn from: render more of them")
    features, labels = np.concatenate(described), np.concatenate([song.labels for song in learned if len(song.labels)])
    weights = {"mean": features.mean(axis=0), "scale": features.std(axis=0) + 1e-3}
    scaled = np.clip((features - weights["mean"]) / weights["scale"], -5, 5).astype(np.float32)
    for number in range(training.networks):
        weights |= _fitted(scaled, labels, training, number)
    detector, _ = listener()
    spec = StrokeSpec(
        name="backbeat-strokes",
        version="0.1.0",
        thresholds=dict.fromkeys(DRUMS, 0.5),
        networks=training.networks,
        hidden=training.hidden,
        seed=training.seed,
        songs=len(learned),
        strokes=len(features),
        listener=f"{detector.spec.name} {detector.spec.version}",
        licence=training.sources_licence,
    )
    thresholds, metrics = settled(StrokeClassifier(spec, weights), valid)
    return StrokeClassifier(replace(spec, thresholds=thresholds, metrics=metrics), weights), metrics


def _fitted(
    features: NDArray[np.float32], labels: NDArray[np.float32], training: StrokeTraining, number: int
) -> dict[str, NDArray[np.float32]]:
    """Train one network; return its weights by name."""
    import torch
    from torch import nn

    torch.manual_seed(training.seed + number)
    widths = (features.shape[1], *training.hidden, labels.shape[1])
    linears = [nn.Linear(before, after) for before, after in itertools.pairwise(widths)]
    layers: list[nn.Module] = []
    for linear in linears[:-1]:
        layers += [linear, nn.ReLU(), nn.Dropout(training.dropout)]
    network = nn.Sequential(*layers, linears[-1])
    steps = training.epochs * -(-len(features) // training.batch)
    optimiser = torch.optim.AdamW(network.parameters(), training.learning_rate, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, training.learning_rate, total_steps=steps)
    generator = torch.Generator().manual_seed(training.seed + number)
    inputs, wanted = torch.from_numpy(features), torch.from_numpy(labels)
    for _ in range(training.epochs):
        for chosen in torch.randperm(len(inputs), generator=generator).split(training.batch):  # type: ignore[no-untyped-call]
            loss = nn.functional.binary_cross_entropy_with_logits(network(inputs[chosen]), wanted[chosen])
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
    return {
        f"{number}.{kind}.{layer}": getattr(linear, kind).detach().numpy()
        for layer, linear in enumerate(linears)
        for kind in ("weight", "bias")
    }


def settled(classifier: StrokeClassifier, songs: Sequence[HeardSong]) -> tuple[dict[str, float], dict[str, float]]:
    """Return for each drum the threshold with the best F over all songs together, and that F."""
    from backbeat.onset.matching import count_matches_above

    heard = [song for song in songs if song.plain]
    likely = [classifier.probabilities(song.described[: song.plain]) for song in heard]
    thresholds, metrics = {}, {}
    for column, name in enumerate(DRUMS):
        start_s = 0.0  # songs are laid end to end, further apart than any match
        truth, found, sure = [], [], []
        for song, probability in zip(heard, likely, strict=True):
            order = np.argsort(song.times_s[:, column], kind="stable")
            truth.append(start_s + song.truth.of(name).times_s)
            found.append(start_s + song.times_s[order, column])
            sure.append(probability[order, column].astype(np.float64))
            start_s += max(song.truth.times_s.max(initial=0.0), song.times_s.max(initial=0.0)) + 2.0
        true_s = np.concatenate(truth)
        matched, kept = count_matches_above(true_s, np.concatenate(found), np.concatenate(sure), _GRID, WINDOW_S)
        scores = 2 * matched / np.maximum(kept + true_s.size, 1)
        # The curve is flat about its top and rough: the middle of all that is as good but for chance is surer.
        good = np.flatnonzero(scores >= scores.max() - _AS_GOOD)
        thresholds[name] = float(_GRID[good[(good.size - 1) // 2]])
        metrics[f"{name}_f"] = round(float(scores.max()), 4)
    return thresholds, metrics


def main() -> None:
    """Make the classifier's folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="of the classifier to be; what is there is replaced")
    parser.add_argument("--soundfonts", nargs="*", default=[], help=".sf2 files beside the one that is always there")
    parser.add_argument("--kits", nargs="*", default=[], help="folders of drum samples")
    parser.add_argument("--performances", help="a folder of human drum performances (info.csv and MIDI files)")
    parser.add_argument("--songs", type=int, default=StrokeTraining.songs)
    parser.add_argument("--varied-songs", type=int, default=StrokeTraining.varied_songs)
    parser.add_argument("--valid-songs", type=int, default=StrokeTraining.valid_songs)
    parser.add_argument("--seed", type=int, default=StrokeTraining.seed)
    parser.add_argument("--workers", type=int, default=2, help="processes that render")
    given = parser.parse_args()
    try:
        training = StrokeTraining(
            seed=given.seed,
            songs=given.songs,
            varied_songs=given.varied_songs,
            valid_songs=given.valid_songs,
            soundfonts=tuple(given.soundfonts),
            kits=tuple(given.kits),
            performances=given.performances,
        )
        learned, valid = (list(heard_songs(jobs, given.workers)) for jobs in jobs_of(training))
        classifier, metrics = train(training, learned, valid)
        classifier.save(given.folder, card_of(classifier.spec, training))
    except BackbeatError as error:
        raise SystemExit(f"error: {error}") from None
    print("\n".join(f"{name} {value:.3f}" for name, value in metrics.items()))


def card_of(spec: StrokeSpec, training: StrokeTraining) -> str:
    """Return what a reader should know of a classifier, in Markdown."""
    sounds = [Path(name).name for name in (*training.soundfonts, *training.kits)]
    rows = "\n".join(f"| {name} | {value:.3f} |" for name, value in spec.metrics.items())
    return f"""# {spec.name} {spec.version}

{spec.networks} networks that judge each stroke of a drum transcription again (`backbeat chart --advanced-features`):
{", ".join(DRUMS)}.

Trained by `python -m backbeat.charts.transcription.classify_train` (seed {spec.seed}) on {spec.strokes:,} moments of
{spec.songs} rendered songs as {spec.listener} hears them; thresholds settled on {training.valid_songs} others. No
recording of music was used.

- Sounds beside TimGM6mb and modelled drums: {", ".join(sounds) or "none"}
- Drumming beside composed patterns: {"human performances" if training.performances else "none"}
- Licences of the sounds and performances: {spec.licence}

| on the validation songs | |
| --- | --- |
{rows}
"""


if __name__ == "__main__":
    main()
