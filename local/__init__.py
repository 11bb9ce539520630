"""The embedded default: a real Triton, the orchestrator and the gateway on one machine, started and stopped in order.

Floors, lowest first: errors, progress, settings; host, processes, repository, proof, rest, sheet; environments; triton;
stack; demo; commands; __main__. What runs before an environment exists (`__main__`, environments, host, progress)
imports nothing but the standard library; the rest runs in `.venv`.
"""
