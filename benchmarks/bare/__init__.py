"""An app whose receivers do as little as receivers can: what its deliveries take, Usher takes."""
