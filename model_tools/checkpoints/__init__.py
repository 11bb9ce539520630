"""Reading checkpoints: their files, layouts, licences and adapters. model_tools/checkpoint.py puts them together."""
