"""Clients' files are decoded in processes of their own: a crash ends one request and not the service."""
