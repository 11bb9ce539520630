"""What orchestrator, gateway and the embedded stack share: settings, logs, certificates. Floor 0."""
