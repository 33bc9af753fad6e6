"""What a person or a machine gives as a reason, made fit for a log, a file and a database."""

NO_REASON = "no reason given"
_LONGEST = 200


def printable(text: str) -> str:
    """Return a text in which all that cannot be shown, but for line ends, is a space.

    With it go what a terminal would obey instead of showing it, and the half characters that
    Python makes of bytes that are no UTF-8: no file, no database and no hash takes those.
    """
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() or one == "\n" else " " for one in text)


def one_line(text: str) -> str:
    """Return a text as one printable line."""
    return printable(text).replace("\n", " ").strip()


def tidy(reason: str) -> str:
    """Return a reason as one printable line that is not endless; maybe an empty one."""
    return one_line(reason)[:_LONGEST]
