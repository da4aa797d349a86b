"""Text that goes into a spreadsheet: no cell of it may be taken for a formula.

Programs that open a CSV file run what begins with "=", "+", "-" or "@" as a formula, which may call
other programs or send what is in the sheet elsewhere.
"""

_BEGINS_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def safe_cell(text: str) -> str:
    """Return the text as a cell: an apostrophe in front of what could be taken for a formula."""
    return f"'{text}" if text.startswith(_BEGINS_FORMULA) else text
