"""One service for all tests that leave it as it is."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from services import Service, serving


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One service for all tests that leave it as it is."""
    with serving(
        tmp_path_factory.mktemp("service"), limits__max_bytes="4000000", limits__upload_s="6", records__seconds="0.5"
    ) as running:
        yield running
