"""The paths. Each function converts, calls the orchestrator, and converts back."""
