"""The starter's networks."""
