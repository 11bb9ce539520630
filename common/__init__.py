"""What orchestrator, gateway and the embedded stack share: settings, logs, certificates. Floor 0."""

VERSION = "0.1.0"
"""Of the service and its images; the wheel's is read from here, the chart's appVersion must be the same."""
