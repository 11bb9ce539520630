"""What every request passes: connections, heads, bodies, forms, encodings, ranges, certificates."""
