"""`make bench`: what the stack around the engine costs, and what it saves, against the obvious ways. See README.md."""
