"""Names and texts as SQL takes them, whatever characters are in them."""


def quote(name: str) -> str:
    """Name of a column, table or variable: one that is a keyword, or has quotes or spaces in it, stays what it is."""
    return '"' + name.replace('"', '""') + '"'


def literal(value: object) -> str:
    """Text constant."""
    return "'" + str(value).replace("'", "''") + "'"
