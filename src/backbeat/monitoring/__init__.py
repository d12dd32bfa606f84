"""What is logged of each prediction, how good it probably was, how it drifts, and who is told."""
