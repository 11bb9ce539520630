"""`make bench`: what the stack around the engine costs, and what it saves, beside the obvious ways. See README.md."""
