"""Federation: what other trust domains are verified with, from where they publish it."""

from ca.federation.endpoint import fetch_bundle
from ca.federation.foreign import Foreign, HttpsSpiffe, HttpsWeb, read_bootstrap
from ca.federation.polling import Federation

__all__ = ["Federation", "Foreign", "HttpsSpiffe", "HttpsWeb", "fetch_bundle", "read_bootstrap"]
