"""Copying everything Usher stores to another database, checked row by row."""
