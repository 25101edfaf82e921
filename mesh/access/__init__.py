"""Access: who may call what in a mesh.

`callers` are those who are told apart, `routes` what they may ask for, `matrix` the answer for each pair of them, and `graph` the
same as lines between workloads.
"""
