"""Proving: what holds of all requests to a mesh, or a request for which it does not.

`invariants` are what is claimed, `ground` the formulas of one workload or of two versions of it, `proofs` the answers;
`comparing` says what two versions of a mesh decide differently.
"""
