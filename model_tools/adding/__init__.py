"""What `python -m model_tools add` does around the graphs: sizes, presets, the family's table, staging, progress."""
