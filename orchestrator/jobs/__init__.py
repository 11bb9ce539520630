"""Requests as jobs: who may start, what waits, what is kept."""
