"""Where the beats and bars fall: network, training task, decoder and scores."""
