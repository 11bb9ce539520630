"""The embedded default: PostgreSQL, Triton, orchestrator and gateway on one machine, started and stopped in order.

Floors, lowest first: errors, progress, settings; host, processes, repository, proof, rest, sheet; environments; triton,
postgres; services; stack; demo; commands; __main__. What runs before an environment exists (`__main__`, environments,
host, progress) imports nothing but the standard library; the rest runs in `.venv`.
"""
