"""Text to model and back: YAML manifests with positions, validation, diagnostics.

Nothing is imported here, for whoever wants a diagnostic needs no reader of manifests.
"""
