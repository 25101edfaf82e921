"""Analysis: exact answers about all requests at once.

A question is a formula over the predicates of policies. `space` says which of them can hold together, by the facts that they
read; `access` says what policies allow, as such a formula; `regions` says in words where a formula holds.
"""
