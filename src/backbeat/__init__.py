"""Backbeat: models that hear music, and the pipeline that makes them."""

# Here and not with the package's metadata: a Bento has the code without them.
__version__ = "0.1.0"
