"""How one request is run, whoever asks for it: its state, its events, its picture, and what is counted of its end."""
