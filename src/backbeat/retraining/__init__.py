"""Retraining as one flow that may be killed at any point: what is to be done, what was done, and where to go on."""
