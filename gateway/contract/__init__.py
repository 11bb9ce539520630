"""The documented JSON: what a client may send and what it is answered, as pydantic models. Nothing is called."""
