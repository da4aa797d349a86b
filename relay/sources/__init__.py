"""One module per kind of broker that events of other systems come from; see `relay.source`."""
