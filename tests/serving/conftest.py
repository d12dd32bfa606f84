"""What tests share: a service that they leave as it is, and models to separate with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from services import Service, serving
from unit.test_separation import GOLDEN, small

from backbeat.files import sha256_file
from backbeat.separation import store as model_store


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One service for all tests that leave it as it is."""
    with serving(
        tmp_path_factory.mktemp("service"), limits__max_bytes="4000000", limits__upload_s="6", monitoring__seconds="0.5"
    ) as running:
        yield running


@pytest.fixture(scope="session")
def small_models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Spleeter's network for two stems with few filters, where pulled models lie."""
    root = tmp_path_factory.mktemp("models")
    entry = model_store.Official(small("2stems"), sha256_file(GOLDEN / "2stems" / "model.data-00000-of-00001"))
    with pytest.MonkeyPatch.context() as patched:
        patched.setitem(model_store.OFFICIAL, "2stems", entry)
        model_store.pull("spleeter:2stems", root=root, source=GOLDEN / "2stems")
        yield root
