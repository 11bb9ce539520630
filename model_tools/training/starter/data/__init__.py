"""Pictures and captions of the starter's training."""
