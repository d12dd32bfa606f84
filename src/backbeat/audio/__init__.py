"""Waveforms in and out of files."""
