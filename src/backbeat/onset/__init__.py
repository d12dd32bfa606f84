"""What is struck when: network, training task, decoder and scores."""
