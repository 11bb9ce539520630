"""How good the starter is: retrieval of captions, colours, counts, adapters."""
