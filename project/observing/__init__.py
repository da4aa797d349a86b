"""Traces and error reports: both optional, and off until an environment variable asks for them."""
