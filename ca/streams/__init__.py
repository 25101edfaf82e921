"""Streams: what those who keep a stream open are owed, whichever protocol it speaks."""

from ca.streams.holders import Holders, Holding
from ca.streams.kept_svids import HeldSvid, KeptSvids
from ca.streams.refusing import Refusing
from ca.streams.streams import Moment, Streams

__all__ = ["HeldSvid", "Holders", "Holding", "KeptSvids", "Moment", "Refusing", "Streams"]
