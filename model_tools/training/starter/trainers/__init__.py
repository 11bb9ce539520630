"""Training of the starter's networks, stage by stage."""
