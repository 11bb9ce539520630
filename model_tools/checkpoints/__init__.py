"""Reading checkpoints: files, layouts, licences and adapters; checkpoint.py combines what the others read."""
