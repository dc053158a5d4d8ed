"""From a checkpoint to an artifact: one graph, written, verified and described."""
