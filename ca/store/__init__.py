"""What the authority keeps: entries, join tokens, the inventory, its signing authorities, others' bundles and the audit chain."""

from ca.store.authorities import KeptAuthorities, Version
from ca.store.entries import KeptEntries
from ca.store.federation import FederatedBundles
from ca.store.inventory import Answer, Inventory
from ca.store.pending import Pending
from ca.store.store import Store
from ca.store.tokens import JoinToken, JoinTokens, NewJoinToken
from ca.store.trail import AuditTrail

__all__ = [
    "Answer",
    "AuditTrail",
    "FederatedBundles",
    "Inventory",
    "JoinToken",
    "JoinTokens",
    "KeptAuthorities",
    "KeptEntries",
    "NewJoinToken",
    "Pending",
    "Store",
    "Version",
]
