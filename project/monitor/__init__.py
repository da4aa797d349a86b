"""The event monitor: pages of the admin for whoever is on call (docs/monitoring.md)."""
