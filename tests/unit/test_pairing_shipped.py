"""The pairing model that ships: it is small, says where it came from, and pairs songs that it was not trained on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from backbeat.corpus.rendered.effects import EffectsParams
from backbeat.corpus.rendered.pairs import PairsParams, render_pairs
from backbeat.corpus.rendered.render import AudioFormat
from backbeat.dataset import FeatureStore, read_labels, write_features, write_labels
from backbeat.model import WEIGHTS, load_spec
from backbeat.pairing.model import PairingModel
from backbeat.pairing.score import partners, score_track
from backbeat.spectrograms import spectrograms

FOLDER = Path(__file__).resolve().parents[2] / "src/backbeat/weights/pairing"

pytestmark = pytest.mark.skipif(
    not (FOLDER / "spec.json").is_file(), reason="no pairing model ships with this checkout"
)


def test_it_says_where_it_came_from_and_is_small() -> None:
    spec = load_spec(FOLDER, "pairing")
    assert spec.run
    assert spec.commit
    assert spec.data_hash
    assert spec.licence == "CC-BY-4.0 AND CC0-1.0"
    assert spec.metrics["recall_5"] > 0.6
    card = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert spec.data_hash in card
    assert spec.licence in card
    assert (FOLDER / WEIGHTS).stat().st_size < 1_000_000


def test_takes_of_new_songs_find_their_beats(tmp_path: Path) -> None:
    params = PairsParams(
        seed=424_242,
        tracks=15,
        duration_s=20.0,
        kit_variety=0.1,
        effects=EffectsParams(strength=0.35),
        audio=AudioFormat(24000),
    )
    corpus = render_pairs(tmp_path / "pairs", params, workers=1, progress=False)
    write_labels(tmp_path / "labels", corpus)
    model = PairingModel.from_folder(FOLDER)
    lines = [{"id": track.id, "path": track.path, "sha256": ""} for track in corpus.tracks]
    made = spectrograms(corpus.root, lines, model.spec.features, progress=False)
    write_features(tmp_path / "features/pairs", model.spec.features, made)
    store, tracks = FeatureStore(tmp_path / "features"), read_labels(tmp_path / "labels", "pairing")
    rows = [
        score_track(truth, model, store.get("pairs", track.id).astype(np.float32))
        for track, truth in zip(tracks, partners(tracks, store), strict=True)
    ]
    # Chance would be 1/15 and 1/3.
    assert np.mean([row["found_1"] for row in rows]) >= 0.4
    assert np.mean([row["found_5"] for row in rows]) >= 0.8


def test_a_song_in_one_piece_or_in_windows_is_nearly_the_same() -> None:
    model = PairingModel.from_folder(FOLDER)
    rng = np.random.default_rng(0)
    log_mel = np.zeros((3000, 96), dtype=np.float32)
    for at in range(0, 2990, 50):
        log_mel[at : at + 5] = 2 * rng.random((5, 96), dtype=np.float32)
    whole = model.embed_beat(log_mel)
    model.decoding = replace(model.decoding, window_s=15.0, hop_s=7.5)
    assert whole @ model.embed_beat(log_mel) > 0.95
