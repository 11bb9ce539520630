"""The orchestrator: one request, one picture. docs/architecture.md has the plan of its rooms."""
