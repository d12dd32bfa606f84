"""Corpora: folders of audio with annotations, and the places they come from.

`contract` is the one form that everything downstream reads, `validate` holds a corpus to it, and `annotated` is one
recording with its annotations wherever it lies. `folder`, `mdb_drums`, `mirdata_source`, `groove` and `rendered` each
make a corpus; `sources` reads sets to evaluate on in place.
"""
