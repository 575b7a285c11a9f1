"""Commands outside the graph, one module each."""
