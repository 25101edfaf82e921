"""Text to model and back: YAML manifests with positions, validation, diagnostics."""
