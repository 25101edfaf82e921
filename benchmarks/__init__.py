"""The figures behind the claims: one file per claim, raw results committed beside them."""
