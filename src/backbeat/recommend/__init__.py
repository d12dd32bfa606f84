"""What goes with what: the beat that fits a take, and the next track for a listener."""
