"""The secrets of endpoints, sealed."""

from sealing import Sealer, Unreadable

__all__ = ["Unreadable", "seal", "unseal"]

_sealer = Sealer("relay.sealing")
seal, unseal = _sealer.seal, _sealer.unseal
