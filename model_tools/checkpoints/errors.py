"""The error of checkpoints that cannot be used. Apart from weights.py, for commands that need no torch."""


class CheckpointError(Exception):
    """A checkpoint that cannot be used; the message names the file or tensor, and what is wrong with it."""
