"""IR to results: the interpreter and the C generators."""
