"""Alarms: somebody is told when a receiver falls behind or gives up, and when that is over."""
