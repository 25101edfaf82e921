"""Findings: what policies mean and nobody can have meant, told from the policies alone. Values in, findings out."""
