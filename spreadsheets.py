"""Text that goes into a spreadsheet: no cell of it may be taken for a formula.

Programs that open a CSV file run what begins with "=", "+", "-" or "@" as a formula, which may call
other programs or send what is in the sheet elsewhere.
"""

_BEGINS_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def safe_cell(text: str) -> str:
    """Return the text as a cell: an apostrophe in front of what could be taken for a formula.

    And in front of what would look like such a cell, so that `text_of_cell` has the text again.
    """
    return f"'{text}" if text.lstrip("'").startswith(_BEGINS_FORMULA) else text


def text_of_cell(cell: str) -> str:
    """Return the text that `safe_cell` made a cell of."""
    is_marked = cell.startswith("'") and cell.lstrip("'").startswith(_BEGINS_FORMULA)
    return cell[1:] if is_marked else cell
