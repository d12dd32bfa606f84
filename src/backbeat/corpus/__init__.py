"""Corpora: folders of audio with annotations, and the places they come from.

`contract` is the one form that everything downstream reads; `validate` holds a corpus to it; `folder`, `mdb_drums`,
`mirdata_source`, `groove` and `rendered` each make one.
"""
