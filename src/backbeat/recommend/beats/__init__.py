"""Which beat fits a take: rules of music, a learned ear, how sure the two are together, and the mix to listen to."""
