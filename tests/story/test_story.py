"""The story as a test: `make story`. It takes minutes and both cores, so the other tests leave it out."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from services import ROOT

ASKED = "BACKBEAT_STORY"


@pytest.mark.skipif(ASKED not in os.environ, reason="the whole loop takes minutes: `make story`")
def test_the_loop_goes_round(tmp_path: Path) -> None:
    from story.story import FOUND_WITHIN, tell

    figures = tell(tmp_path)
    (ROOT / "build" / "story").mkdir(parents=True, exist_ok=True)
    (ROOT / "build" / "story" / "account.md").write_text((tmp_path / "account.md").read_text())
    assert figures["requests_until_drift"] <= FOUND_WITHIN
    assert figures["lost"] == 0
    assert figures["right_after"] > figures["right_before"] + 0.1
    assert figures["rollback_s"] < 30
    assert figures["seconds"] < 900
