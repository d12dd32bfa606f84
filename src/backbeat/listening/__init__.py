"""What listeners may want to hear next: by popularity, by sound, by what others heard, by two towers, and by a blend.

`recommenders` names them and takes those of one's own; `simulator` makes listeners whose taste is known; `evaluation`
scores recommenders by a split in time. Nothing here knows a catalogue: `backbeat.recommend.tracks` brings both
together.
"""
