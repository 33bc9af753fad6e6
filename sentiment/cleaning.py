"""Text from outside, made safe to read; what hid something is marked.

Unicode's own folding leaves a Cyrillic letter that looks Latin as it is, so lookalikes
have a table here.
"""

import html
import re
import unicodedata
from dataclasses import dataclass

MAX_CHARACTERS = 400
# Python turns no more than 4,300 digits into a number, and a character reference may hold as many.
_LONGEST_READ = 4000
_ROUNDS = 5

_ELEMENT = re.compile(
    r"<(script|style)\b.*?(?:</\1\s*>|$)|<!--.*?(?:-->|$)|</?[a-zA-Z!][^<>]*>?", re.S
)
_MARKUP = re.compile(r"[&<]")
_SPACE = re.compile(r"\s+")
_WORD = re.compile(r"[^\W\d_]+")
_MARKS_ALLOWED = 2
_COSTUMES = ("<font>", "<wide>", "<narrow>", "<small>", "<circle>", "<square>", "<sub>")

# Cyrillic, Greek, Armenian and Cherokee letters that a reader takes for Latin ones.
_LOOKALIKES = str.maketrans(
    "АВЕКМНОРСТУХЅІЈԚԜҮЗаеорсухѕіјԛԝүһԁɡΑΒΕΖΗΙΚΜΝΟΡΤΥΧονρυικՕՏսոցհօᎪᏴᏟᎠᎬᎻᎫᏦᏞᎷᎢᏙᏔᏃɑı",
    "ABEKMHOPCTYXSIJQWY3aeopcyxsijqwyhdgABEZHIKMNOPTYXovpuikOSunghoABCDEHJKLMTVWZai",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cleaned:
    """Readable text; ``was_altered`` when it had hidden something from a reader."""

    text: str
    was_altered: bool


def clean(raw: str) -> Cleaned:
    """Fold, strip and cut text until nothing more changes; idempotent.

    Character references and odd spaces are ordinary in feeds and mark nothing.  Elements,
    control and format characters, letters dressed as others, and stacked accents do.
    """
    text = raw[:_LONGEST_READ]
    altered = False
    for _ in range(_ROUNDS):
        before = text
        text, was_altered = _once(text)
        altered = altered or was_altered
        if text == before:
            break
    else:
        # Layers upon layers of escaping are nobody's way to print a headline.
        altered = True
    return Cleaned(text=text[:MAX_CHARACTERS].rstrip(), was_altered=altered)


def _once(text: str) -> tuple[str, bool]:
    if text.isascii() and text.isprintable() and not _MARKUP.search(text):
        return _SPACE.sub(" ", text).strip(), False
    unescaped = html.unescape(text)
    was_dressed = any(_is_dressed(char) for char in unescaped)
    visible, was_hidden = _visible(unicodedata.normalize("NFKC", unescaped))
    stripped = _ELEMENT.sub(" ", visible)
    latin, was_foreign = _undisguise(stripped)
    altered = was_dressed or was_hidden or stripped != visible or was_foreign
    return _SPACE.sub(" ", latin).strip(), altered


def _is_dressed(char: str) -> bool:
    """Tell whether a character is a letter or digit in costume, such as a bold one."""
    kind = unicodedata.decomposition(char).partition(" ")[0]
    return kind in _COSTUMES or (kind == "<super>" and char.isalpha())


def _visible(text: str) -> tuple[str, bool]:
    kept: list[str] = []
    hidden = False
    marks = 0
    for place, char in enumerate(text):
        category = unicodedata.category(char)
        marks = marks + 1 if category in ("Mn", "Me") else 0
        if category == "Cc" and char.isspace():
            kept.append(" ")
        elif category in ("Cc", "Cf", "Co", "Cs", "Cn") or marks > _MARKS_ALLOWED:
            hidden = hidden or not _joins_pictures(text, place)
        else:
            kept.append(char)
    return "".join(kept), hidden


def _joins_pictures(text: str, place: int) -> bool:
    """Tell whether a zero-width joiner sits inside an emoji, where it belongs."""
    around = text[max(0, place - 1) : place] + text[place + 1 : place + 2]
    return text[place] == "\N{ZERO WIDTH JOINER}" and any(
        unicodedata.category(char) in ("So", "Sk", "Mn") for char in around
    )


def _undisguise(text: str) -> tuple[str, bool]:
    found = False

    def fold(match: re.Match[str]) -> str:
        nonlocal found
        word = match[0]
        folded = word.translate(_LOOKALIKES)
        if folded == word or not folded.isascii():
            # Not a lookalike at all, or a real word of another script; but a word of two
            # scripts is a disguise whether or not every letter is in the table.
            found = found or _scripts(word) > 1
            return word
        found = found or len(word) > 1
        return folded if len(word) > 1 else word

    return _WORD.sub(fold, text), found


def _scripts(word: str) -> int:
    return len({unicodedata.name(char, "?").split(" ")[0] for char in word})
