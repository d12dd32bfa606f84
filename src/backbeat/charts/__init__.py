"""From a song to a drum chart that plays: transcription, quantising, DTX, MIDI, and the files that go with them."""
