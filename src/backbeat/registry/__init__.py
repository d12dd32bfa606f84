"""Versions of trained models in MLflow, which of them is the champion, and how it became that."""

from backbeat.registry.ledger import Event
from backbeat.registry.registry import Registry
from backbeat.registry.versions import Difference, Version

__all__ = ["Difference", "Event", "Registry", "Version"]
