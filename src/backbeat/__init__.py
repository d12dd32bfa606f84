"""Backbeat: models that hear music, and the pipeline that makes them."""

from importlib.metadata import version

__version__ = version("backbeat")
