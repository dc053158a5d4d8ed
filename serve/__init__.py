"""The server and its client: frames in over gRPC, instances out. No torch."""
