"""Strokes and beats to a chart: bars, a tempo map, divisions of beats, and a place for each stroke."""
