"""From torch modules to model folders: graphs, precisions, quantisation, TensorRT, comparison with torch."""
