"""One short function for each task: prepare the pipeline's inputs, call it, compose the answer."""
