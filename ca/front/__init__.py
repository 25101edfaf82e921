"""The front: sockets of ours before gRPC servers, which say who connected."""
