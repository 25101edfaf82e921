"""Findings that need the mesh around policies: workloads, services, mTLS, tokens, the mesh configuration."""
