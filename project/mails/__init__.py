"""Mails about what happened to a person, sent by receivers (docs/adr/0018-mails.md)."""
