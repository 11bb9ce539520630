"""Durable jobs: their store, the worker that runs them, those who watch them, and maintenance."""
