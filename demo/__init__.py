"""A small mesh of real parts on this machine: Envoys with mTLS, an authority, an upstream, meshward itself."""
