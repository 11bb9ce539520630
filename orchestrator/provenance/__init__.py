"""Marks of origin: what a picture's file says about how it was generated, and what a given file says."""
