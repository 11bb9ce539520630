"""The REST edge: documented JSON in, calls of imagegen.v1 out. No picture logic, no database."""
