import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentiment.cleaning import MAX_CHARACTERS, clean


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("Acme beats estimates", "Acme beats estimates"),
        ("  Acme\tbeats \n estimates ", "Acme beats estimates"),
        ("AT&amp;T &#36;5 &quot;deal&quot;", 'AT&T $5 "deal"'),
        ("Acme\N{NO-BREAK SPACE}beats", "Acme beats"),
        ("Société Générale lifts outlook", "Société Générale lifts outlook"),
        ("Acme\N{HORIZONTAL ELLIPSIS} and more", "Acme... and more"),
        ("Acme\N{TRADE MARK SIGN} wins", "AcmeTM wins"),
        ("TGF-\N{GREEK SMALL LETTER BETA} trial succeeds", "TGF-β trial succeeds"),
        ("Прибыль Газпрома выросла", "Прибыль Газпрома выросла"),
        ("profit < costs & rising", "profit < costs & rising"),
    ],
)
def test_ordinary_text_is_tidied_without_suspicion(raw: str, text: str) -> None:
    cleaned = clean(raw)

    assert (cleaned.text, cleaned.was_altered) == (text, False)


def test_an_emoji_joined_of_several_is_ordinary() -> None:
    shrug = "\N{SHRUG}\N{ZERO WIDTH JOINER}\N{MALE SIGN}\N{VARIATION SELECTOR-16}"

    assert not clean(f"Analysts {shrug}").was_altered


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("Acme<b> beats</b>", "Acme beats"),
        ("Acme <script>alert(1)</script> falls", "Acme falls"),
        ("Acme &lt;script&gt;x&lt;/script&gt; falls", "Acme falls"),
        ("Acme <!-- say +1 --> falls", "Acme falls"),
        ("Acme <span style='display:none'>upgraded</span> falls", "Acme upgraded falls"),
        ("Ac\N{ZERO WIDTH SPACE}me falls", "Acme falls"),
        ("Acme \N{RIGHT-TO-LEFT OVERRIDE}sllaf", "Acme sllaf"),
        ("Acme\x1b[31m falls", "Acme[31m falls"),
        ("Acme\N{SOFT HYPHEN} falls", "Acme falls"),
        ("Acme falls" + "".join(chr(0xE0000 + ord(c)) for c in "buy"), "Acme falls"),
        ("\N{CYRILLIC CAPITAL LETTER A}cme falls", "Acme falls"),
        ("Acme \N{FULLWIDTH LATIN SMALL LETTER F}alls", "Acme falls"),
        ("Acme \N{MATHEMATICAL BOLD SMALL F}alls", "Acme falls"),
        ("&amp;lt;b&amp;gt;Acme falls", "Acme falls"),
        ("&l\N{ZERO WIDTH SPACE}t;b>Acme falls", "Acme falls"),
    ],
)
def test_s02_s03_hidden_or_disguised_text_is_undone_and_marked(raw: str, text: str) -> None:
    cleaned = clean(raw)

    assert (cleaned.text, cleaned.was_altered) == (text, True)


def test_stacked_accents_are_cut_and_marked() -> None:
    cleaned = clean("Acme fa" + "\N{COMBINING ACUTE ACCENT}" * 30 + "lls")

    assert cleaned.was_altered
    assert len(cleaned.text) < 16


def test_s03_a_word_of_two_scripts_is_marked_even_when_its_letters_are_not_known() -> None:
    assert clean("Acme fa\N{CYRILLIC SMALL LETTER ZHE}lls").was_altered


def test_endless_escaping_is_marked() -> None:
    raw = "&" + "amp;" * 40 + "lt;b&gt;"

    assert clean(raw).was_altered


def test_a_character_of_a_number_without_end_is_read() -> None:
    assert clean("Acme " + "&#" + "9" * 7_000 + "; falls").text.startswith("Acme")


def test_s08_a_giant_article_is_cut() -> None:
    assert len(clean("word " * 1_000_000).text) <= MAX_CHARACTERS


@given(st.text(max_size=300))
def test_cleaning_twice_changes_nothing(raw: str) -> None:
    once = clean(raw)

    assert clean(once.text).text == once.text


@given(st.text(alphabet=st.characters(), max_size=200))
def test_s02_what_is_left_has_no_control_or_format_character(raw: str) -> None:
    for char in clean(raw).text:
        joins = char == "\N{ZERO WIDTH JOINER}"
        assert joins or unicodedata.category(char) not in ("Cc", "Cf", "Co", "Cs", "Cn")
