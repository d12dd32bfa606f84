"""Which beat belongs under a take: network, training task, model and scores."""
