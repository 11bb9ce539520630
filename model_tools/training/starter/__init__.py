"""The starter family: a small text-to-picture model that two CPU cores can train in two hours."""
