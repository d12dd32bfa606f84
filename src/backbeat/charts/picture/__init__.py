"""A chart as a picture: systems of bars, as in a score."""
