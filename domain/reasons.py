"""What a person or a machine gives as a reason, made fit for a log, a file and a database."""

NO_REASON = "no reason given"
_LONGEST = 200


def one_line(text: str) -> str:
    """Return a text as one printable line.

    What cannot be shown becomes a space, and with it the half characters that Python makes of
    bytes that are no UTF-8: no file, no database and no hash takes those.
    """
    return "".join(character if character.isprintable() else " " for character in text).strip()


def tidy(reason: str) -> str:
    """Return a reason as one printable line that is not endless; maybe an empty one."""
    return one_line(reason)[:_LONGEST]
