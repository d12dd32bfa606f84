"""What the drums of a song play: strokes heard, told apart, and put in lanes."""
