"""What genre it is: network, training task and scores."""
