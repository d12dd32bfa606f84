"""Separation into stems: Spleeter's networks in torch, where their weights come from, and running them on files."""
