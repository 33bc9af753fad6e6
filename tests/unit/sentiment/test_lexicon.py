import datetime as dt

import pytest

from domain.clock import UTC
from domain.ids import Symbol
from domain.market import NewsItem
from domain.signals import SentimentLabel
from sentiment.lexicon import SPEAKS_FROM, LexiconScorer, read, weigh
from sentiment.words import tokens, word_list

ACME = Symbol("ACME")
NOW = dt.datetime(2022, 12, 14, 13, tzinfo=UTC)


def item(headline: str, number: int = 1, *symbols: str) -> NewsItem:
    return NewsItem(
        item_id=f"n{number}",
        source="wire",
        published_at=NOW - dt.timedelta(minutes=10 - number),
        headline=headline,
        symbols=tuple(Symbol(s) for s in symbols) or (ACME,),
    )


@pytest.mark.parametrize(
    "headline",
    [
        "Acme beats estimates and raises guidance",
        "Acme upgraded to Buy at Some Bank",
        "Acme price target raised to $80 vs. $70",
        "Some Bank raises Acme's price target to $80",
        "Acme shares jump 8% after record profit",
        "Acme initiated at Outperform",
        "Acme EPS 86 cents; FactSet consensus 74 cents",
        "Jobless claims drop sharply",
        "Acme costs fall, profit rises",
        "Acme announces special dividend",
    ],
)
def test_good_news_is_called_bullish(headline: str) -> None:
    assert read(headline).score > 0


@pytest.mark.parametrize(
    "headline",
    [
        "Acme misses estimates and cuts guidance",
        "Acme downgraded to Sell at Some Bank",
        "Acme price target cut to $60 from $70",
        "Acme shares plunge 8% on profit warning",
        "Acme initiated at Underweight",
        "Acme EPS $1.52 vs. $1.55 a year ago",
        "Unemployment surges to a ten-year high",
        "Acme suspends dividend, files for bankruptcy",
        "Acme does not beat estimates",
        "FDA rejects Acme drug, shares tumble",
    ],
)
def test_bad_news_is_called_bearish(headline: str) -> None:
    assert read(headline).score < 0


@pytest.mark.parametrize(
    "headline",
    [
        "Acme reports Q3 results",
        "Edited Transcript of ACME earnings conference call",
        "Acme to present at the Some Bank conference, shares jump",
        "Acme names new head of marketing",
        "Is Acme a buy?",
        "Acme declares $0.20 dividend",
        "Acme closes acquisition of Beta",
        "",
        "?!",
        "$ACME $BETA https://example.invalid/beats",
    ],
)
def test_no_news_stays_neutral(headline: str) -> None:
    assert read(headline).score == 0
    assert read(headline).confidence == 0


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        ("$1.02 billion", "$980 million"),
        ("$1.2B", "$980M"),
        ("$1,234.5 mln", "$987.0 mln"),
        ("1,204", "996"),
        ("$1.02", "98 cents"),
        ("0.98 billion", "0.97"),
        ("$0.10", "-$0.12"),
        ("$-0.12", "$-0.20"),
        ("$(0.12)", "$(0.20)"),
        ("($0.12)", "($0.20)"),
        ("2.10-2.30", "2.00"),
    ],
)
def test_figures_are_compared_whole_with_sign_and_unit(better: str, worse: str) -> None:
    assert weigh(f"Acme Q3 {better} vs. {worse}") > 0
    assert weigh(f"Acme Q3 {worse} vs. {better}") < 0
    assert weigh(f"Acme Q3 ({better} vs. {worse})") > 0


def test_the_same_figure_says_nothing() -> None:
    assert weigh("Acme Q3 $1,000 mln vs. $1 billion") == 0


def test_a_range_of_percentages_is_no_fall() -> None:
    assert weigh("Acme margin 12%-15%") == 0
    assert weigh("Acme sees sales up 2-3%") == weigh("Acme sees sales up 3%") > 0
    assert tokens("10-15%, -5%, 1%-2%, $10-12") == ["%", "-%", "%", "#", "#"]


def test_negation_turns_a_call_around() -> None:
    assert weigh("Acme fails to beat estimates") < 0 < weigh("Acme beat estimates")


def test_degree_words_strengthen_and_weaken() -> None:
    slightly, plain, sharply = (
        weigh(f"Acme shares {degree} fall") for degree in ("slightly", "", "sharply")
    )

    assert sharply < plain < slightly < 0


def test_a_question_says_half() -> None:
    assert weigh("Acme upgraded?") == weigh("Acme upgraded") / 2


def test_rising_burdens_are_bad_and_falling_ones_good() -> None:
    assert weigh("Layoffs rise") < 0 < weigh("Layoffs fall")
    assert weigh("A drop in costs") > 0


def test_more_weight_never_means_less_confidence() -> None:
    weak, strong = read("Acme shares slip"), read("Acme downgraded after it misses estimates")

    assert weak.score > strong.score
    assert 0.5 < weak.confidence < strong.confidence < 1


def test_a_sum_under_the_bound_is_silence() -> None:
    headline = "Acme grows"

    assert 0 < weigh(headline) < SPEAKS_FROM
    assert read(headline).score == 0


def test_figures_become_placeholders() -> None:
    assert tokens("ACME's Q3: +8%, -3.5 %, 12%, $1.5 up") == [
        "acme",
        "q#",
        "+%",
        "-%",
        "%",
        "#",
        "up",
    ]


def test_every_listed_word_can_be_met() -> None:
    listed = word_list()

    for some in listed.entries.values():
        for entry in some:
            said = " ".join(entry.words).replace("q#", "q3").replace("%", "1%").replace("#", "7")
            assert tuple(tokens(said)) == entry.words, entry
            assert -4 <= entry.weight <= 4


def test_no_phrase_is_listed_twice() -> None:
    seen = [(entry.words, entry.kind) for some in word_list().entries.values() for entry in some]
    words = [words for words, _ in seen]

    assert sorted(w for w in set(words) if words.count(w) > 1) == []


async def test_each_tagged_symbol_gets_a_score() -> None:
    items = [item("Acme upgraded to Buy", 1, "ACME", "BETA"), item("Gamma reports", 2, "GAMMA")]

    scores = await LexiconScorer().score(items, NOW)

    assert list(scores) == ["ACME", "BETA", "GAMMA"]
    assert scores[ACME].label is SentimentLabel.BULLISH
    assert scores[ACME].source == "lexicon"
    assert scores[Symbol("GAMMA")].label is SentimentLabel.NEUTRAL
    assert scores[Symbol("GAMMA")].confidence == 0


async def test_text_that_hides_something_has_no_voice() -> None:
    hidden = item("Acme upgr\N{ZERO WIDTH SPACE}aded to Buy")

    scores = await LexiconScorer().score([hidden], NOW)

    assert scores[ACME].score == 0
