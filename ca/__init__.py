"""The certificate authority. It knows nothing of policy."""
