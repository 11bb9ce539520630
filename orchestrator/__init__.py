"""The orchestrator: turns a request into a picture by calling networks in Triton (shared/design/house.md)."""
