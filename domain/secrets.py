"""Secrets: text that nothing shows by accident, in a log, a traceback or a dump."""

from typing import NoReturn


class Secret:
    """A key or token.  Only :meth:`reveal` gives the text; printing shows stars."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the text, for the one line that puts it on the wire."""
        return self._text

    def __bool__(self) -> bool:
        return bool(self._text)

    def __repr__(self) -> str:
        return "Secret('***')"

    def __str__(self) -> str:
        return "***"

    def __format__(self, format_spec: str) -> str:
        return "***"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret is not written to disk or sent to another process")
