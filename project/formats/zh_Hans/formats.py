"""Dates in tables are short enough for a telephone. Django's short form is the long one."""

SHORT_DATE_FORMAT = "Y-m-d"
