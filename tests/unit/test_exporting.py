"""What the listeners of a catalogue did, as the pipeline reads it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from catalogues import SPACE, item, vector

from backbeat.dataset import read_labels
from backbeat.errors import CatalogueError
from backbeat.features import FeatureParams
from backbeat.files import write_text
from backbeat.listening.data import gather
from backbeat.listening.simulator import SimulatorParams
from backbeat.recommend.catalogue import Catalogue
from backbeat.recommend.exporting import export_listeners
from backbeat.recommend.interactions import Interaction
from pipelines.listeners import ListenersSettings, TimeShares, gathered, label_lines


def test_an_export_is_what_the_stage_learns_from(tmp_path: Path) -> None:
    names = [item(number).id for number in range(6)]
    with Catalogue.open(str(tmp_path / "catalogue"), make=True) as catalogue:
        with pytest.raises(CatalogueError, match="no interactions"):
            export_listeners(catalogue, tmp_path / "export", SPACE, FeatureParams())
        catalogue.add_many((item(number), {SPACE: vector(number)}, b"") for number in range(6))
        told = [
            Interaction(f"u{number % 3}", names[number % 6], "like" if number % 2 else "play", 1000.0 + number)
            for number in range(30)
        ]
        catalogue.add_interactions(told)
        with pytest.raises(CatalogueError, match="reindex"):
            export_listeners(catalogue, tmp_path / "export", "genre:another", FeatureParams())
        version = export_listeners(catalogue, tmp_path / "export", SPACE, FeatureParams())
        mine = tmp_path / "mine"
        mine.mkdir()
        (mine / "notes.txt").write_text("important")
        with pytest.raises(CatalogueError, match="is no export, so it is not replaced"):
            export_listeners(catalogue, mine, SPACE, FeatureParams())
        with pytest.raises(CatalogueError, match="is no export"):
            export_listeners(catalogue, mine / "notes.txt", SPACE, FeatureParams())
        assert (mine / "notes.txt").read_text() == "important"
        for _ in range(2):
            assert export_listeners(catalogue, tmp_path / "again", SPACE, FeatureParams()) == version
    settings = ListenersSettings("mine", str(tmp_path / "export"), TimeShares(0.2, 0.2), 0.0, SimulatorParams())
    items, table = gathered(settings, tmp_path / "labels", tmp_path / "features", tmp_path / "models/genre")
    assert items.ids == tuple(sorted(names))
    assert items.space == SPACE
    np.testing.assert_array_equal(items.vectors[2], vector(2))
    assert len(table) == 30
    write_text(tmp_path / "labels/listening/mine.jsonl", "".join(label_lines(table, settings.shares)))
    listening = gather(read_labels(tmp_path / "labels", "listening"), items)
    assert len(listening.events) == 30
    assert listening.users == ("u0", "u1", "u2")
