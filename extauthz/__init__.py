"""Envoy's edge: CheckRequest to Attributes, Decision to CheckResponse, the gRPC server around them."""
