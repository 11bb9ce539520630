"""Between the documented JSON and imagegen.v1, both ways. Pure functions."""
