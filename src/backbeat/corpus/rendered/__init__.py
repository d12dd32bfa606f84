"""Music that the pipeline composes and renders itself, so that every label is exact and nothing is copyrighted.

`score` is the form between the two halves: `compose` and its neighbours write a `Score` from a random generator;
`synthesise`, `effects` and `render` turn it to sound and to a corpus.
"""
