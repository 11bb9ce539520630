"""Training of the networks that ship with this repository, and the data it needs."""
