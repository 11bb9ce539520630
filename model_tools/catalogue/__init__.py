"""Published checkpoints as data, and the command that fetches, verifies and adds one of them."""
