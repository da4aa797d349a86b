"""How events travel: one module for each kind of system. See `relay.transport`."""
