"""The orchestrator, as the gateway calls it."""
