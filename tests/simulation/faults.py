"""What may go wrong, how often, and how often it did.

Each seed draws a swarm: a part of the classes is on, each with a rate of its own, so
that rare combinations are not drowned by common ones.  Every class has its own random
numbers: dropping one class leaves the others as they were, which the shrinker needs.
"""

import random
from collections import Counter
from collections.abc import Collection, Mapping
from typing import TypeVar

_T = TypeVar("_T")

# Class -> (lowest, highest) chance at each opportunity.  The rows are of the fault matrix.
CLASSES: Mapping[str, tuple[float, float]] = {
    # Requests to the broker
    "send.lost_before": (0.05, 0.40),  # A01 A10 A11
    "send.lost_after": (0.05, 0.40),  # A02 A16 A17 A22
    "send.late": (0.05, 0.30),  # A05
    "send.very_late": (0.05, 0.30),  # A05: after all the proof of its absence
    "send.slow": (0.3, 1.0),  # A19 K04: the connection takes seconds
    "send.not_sent": (0.05, 0.40),  # A23
    "send.rate_limited": (0.05, 0.50),  # A07 A08
    "send.absurd_wait": (0.2, 0.8),  # A09
    "send.rejected": (0.05, 0.30),  # A13 A15
    "send.auth_refused": (0.01, 0.06),  # A12
    "send.crossed": (0.2, 0.8),  # A24
    "send.unexpected": (0.05, 0.3),  # A17: the reader of the answer breaks
    "broker.forgets_ids": (1.0, 1.0),  # A05 (ii): ids are unique among working orders only
    "broker.down": (0.1, 0.6),  # A31, a chance per day
    "read.unavailable": (0.002, 0.08),  # A17 A20
    "read.slow": (0.002, 0.05),  # A19
    "read.empty_positions": (0.002, 0.05),  # A18
    "read.regressed": (0.002, 0.05),  # A32
    "read.auth_refused": (0.0001, 0.001),  # A12
    "account.odd_equity": (0.002, 0.05),  # K11
    "account.odd_figure": (0.002, 0.05),  # K11: cash or buying power
    "read.mixed_up": (0.0005, 0.01),  # A24: an order is listed with a field of another
    "broker.keys_rotated": (0.05, 0.3),  # N07, a chance per day: ours open nothing any more
    "broker.part_down": (0.05, 0.3),  # A20 A31, a chance per day: one kind of answer stays away
    "broker.slow": (0.05, 0.3),  # A19, a chance per day: for hours
    "broker.limiting": (0.05, 0.3),  # A07 A08, a chance per day: every write, for minutes
    "broker.shows_nothing": (0.05, 0.3),  # A18, a chance per day: no position, for hours
    "account.unusable": (0.05, 0.3),  # K11, a chance per day: equity that is none, for hours
    "account.blocked": (0.05, 0.3),  # A14, a chance per day
    "order.hidden": (0.05, 0.60),  # A04
    "cancel.lost_before": (0.05, 0.40),  # A20 K02
    "cancel.lost_after": (0.05, 0.40),  # A20 K02
    "cancel.refused": (0.1, 0.5),  # A28
    "cancel.rate_limited": (0.05, 0.4),  # A07 K02
    "cancel.unexpected": (0.05, 0.3),  # A17: the reader of the answer breaks
    "cancel.stuck": (0.1, 0.5),  # A28
    # Orders and fills: B
    "fill.partial": (0.1, 0.8),  # B01 B02
    "fill.slow": (0.1, 0.9),  # B02: it rests until somebody cancels it, or the close
    "fill.while_canceling": (0.3, 1.0),  # A29
    "fill.after_cancel": (0.2, 0.8),  # B03 B04
    "fill.twins": (0.1, 0.5),  # B11
    "fill.over": (0.05, 0.4),  # B05 B15: two shares more than were asked for
    "fill.busted": (0.05, 0.3),  # B08, twice a day at most: it never happened
    "fill.corrected": (0.05, 0.3),  # B08, twice a day at most: other price, fewer shares
    "fill.bust_in_reading": (0.2, 0.8),  # B08, a chance per day: told between two answers
    "fill.bust_keeps_total": (1.0, 1.0),  # B08: the order's filled total does not fall by it
    "fill.late_activity": (0.1, 0.8),  # B12
    "fill.other_ids": (1.0, 1.0),  # B12: the stream's execution ids differ from the log's
    "activity.hours_late": (0.05, 0.6),  # B12 B13 B14: posted long after it happened
    "order.rejected_later": (0.05, 0.3),  # B06
    "order.odd_status": (0.05, 0.4),  # B07 A26
    "hand.replaced": (0.05, 0.3),  # B09, twice a day at most: an open order, ours or not
    "hand.canceled": (0.05, 0.3),  # B09, twice a day at most: an open order, ours or not
    "hand.trade": (0.2, 0.9),  # B09 B10, a chance per day
    "hand.amount": (0.3, 1.0),  # B09: for an amount of money, its shares told when it has ended
    "books.broken": (0.3, 1.0),  # B10 B13: shares come without a word, a chance per night
    "corporate.split": (0.2, 0.7),  # B13, a chance per night
    "corporate.reverse_split": (0.2, 0.7),  # B13, a chance per night: fractions are paid out
    "corporate.consolidation": (0.3, 0.9),  # B13 B14, a chance per night: 1 for 10 of what is held
    "money.dividend": (0.1, 0.6),  # B14, a chance per night
    "money.fee": (0.1, 0.8),  # B14
    "money.untold": (0.1, 0.6),  # B14, a chance per day: a fee is taken, and told hours later
    "money.transfer": (0.05, 0.4),  # K12
    "money.in_a_look": (0.1, 0.6),  # K12, twice a day at most: between two answers of one look
    "money.transfer_dated": (1.0, 1.0),  # K12: at the midnight before, as all other money
    # C: the stream
    "stream.dropped": (0.05, 0.4),  # C01 C02
    "stream.duplicate": (0.05, 1.0),  # C03
    "stream.reordered": (0.05, 0.6),  # C04
    "stream.unreadable": (0.1, 0.6),  # C05 C06
    "stream.missing": (0.05, 0.5),  # C08
    "stream.absurd": (0.05, 0.4),  # C06: an execution for nothing
    "stream.contradicts": (0.02, 0.2),  # B05: an execution is told again at another price
    "stream.silent": (0.05, 0.3),  # C07
    # D: the process
    "process.crash": (0.3, 1.0),  # D01 D02, a chance per life
    "process.crash_in_send": (0.2, 0.8),  # D01 D02, a chance per day: while orders leave
    "process.frozen": (0.05, 0.3),  # D05 F08 F09, a chance per day
    "process.away_for_days": (0.02, 0.2),  # F08, a chance per day: whole sessions pass
    "process.stop": (0.1, 0.8),  # D03, a chance per day
    "process.deployed": (0.5, 1.0),  # a chance per night: another life in the morning
    "process.outage": (0.05, 0.3),  # F08: the restart takes hours instead of seconds
    "process.upgraded": (0.2, 0.8),  # D11, a chance per life: other code than the one before
    "process.second": (0.1, 0.5),  # D12, a chance per day
    "process.at_cutoff": (0.2, 0.8),  # F08 F09, a chance per day: up again shortly before it
    # E: the disk
    "disk.refused": (0.0005, 0.01),  # E01 E02 E05, a chance per commit
    "disk.full": (0.05, 0.2),  # E01, a chance per day: for minutes or hours
    "disk.evening_refused": (0.1, 0.6),  # E01: a chance for each report and each backup
    "disk.kill_refused": (0.02, 0.2),  # K06: a chance for each write of a kill
    "disk.latch_lost": (0.2, 0.7),  # K07, a chance per day
    # F: the clock
    "clock.jumped": (0.05, 0.3),  # F01 F02 F08, a chance per day
    "clock.skewed": (0.05, 0.3),  # F01, a chance per day: seconds, not minutes
    # The broker's hours, against our calendar
    "market.closed": (0.03, 0.2),  # F06, a chance per day: a day of mourning
    "calendar.wrong": (0.05, 0.4),  # F07, a chance for each answer: empty, cut short, with holes
    "market.hours": (0.05, 0.3),  # F06 F13, a chance per day: opens late or closes early
    "market.halted": (0.05, 0.3),  # F13, a chance per day: nothing trades anywhere
    # Market data and forecasts
    "data.missing_symbol": (0.05, 0.5),  # G01
    "data.stale": (0.05, 0.3),  # G04
    "data.down": (0.05, 0.3),  # G12
    "asset.halted": (0.1, 0.5),  # G07 G09, a chance per day: nothing trades in one symbol
    "asset.ended": (0.05, 0.4),  # G08, a chance per night: delisted, bought out or renamed
    "forecast.down": (0.05, 0.5),  # H01 H09
    "forecast.degraded": (0.1, 0.6),  # H01
    "data.hole": (0.05, 0.3),  # G01: a session is missing where only the long view looks
    "data.odd_volume": (1.0, 1.0),  # G13: some volumes are not told, some are small
    "news.down": (0.05, 0.5),  # S11
    "news.unscored": (0.05, 0.5),  # S11
    "events.known": (1.0, 1.0),  # G08: earnings, and a symbol that is about to end
    "events.down": (0.02, 0.2),  # G12
    "forecast.odd": (0.05, 0.4),  # H03 H04: absent, absurd, or no number
    "forecast.undecided": (1.0, 1.0),  # views near one half: little is opened or closed
    "forecast.steady": (1.0, 1.0),  # a view lasts for all days, so that holdings are kept
    "market.swing": (0.6, 1.0),  # a chance per session: some climb, and fall the next
    "market.slump": (0.3, 1.0),  # K10 K14, a chance per session
    # K: the operator
    "operator.kill": (0.1, 0.7),  # K01-K06, a chance per day
    "operator.flatten": (0.3, 0.9),  # K09
    "operator.pause": (0.1, 0.7),
    "operator.kill_in_send": (0.02, 0.2),  # K03 K04: while a request waits for its connection
    # J: commands over MQTT, each a chance per day
    "mqtt.command": (0.1, 0.5),  # M07
    "mqtt.retained": (0.1, 0.6),  # M03 M04
    "mqtt.forged": (0.1, 0.6),  # M05
    "mqtt.altered": (0.1, 0.6),  # M05
    "mqtt.replayed": (0.2, 0.8),  # M06 M07
    "mqtt.skewed": (0.1, 0.6),  # M08
    "mqtt.garbage": (0.1, 0.6),  # M10
    "mqtt.kill_refused": (0.1, 0.5),  # E01 E04: the database or the disk refuses as it comes
    "operator.kill_when_down": (0.3, 1.0),  # K02, a chance for each time the broker goes away
    "operator.mistaken": (0.3, 1.0),  # a chance for each resume
    "operator.adopt": (0.3, 1.0),  # B10 B13, a chance per morning with a break
    "operator.accept": (0.3, 1.0),  # a chance per morning after a report that does not balance
    "operator.unsuspend": (0.2, 0.8),  # K16, a chance per kill
    # What openbell is set up as: in a seed or not.
    "setup.short": (1.0, 1.0),
    "setup.stops": (1.0, 1.0),
    "setup.limits": (1.0, 1.0),
    "setup.losses": (1.0, 1.0),
    "setup.strategies": (1.0, 1.0),
    "setup.odd_prices": (1.0, 1.0),
    "setup.nights": (1.0, 1.0),  # backup and retention
}

# Share of the classes that are on in one seed: in a storm hardly an order leaves, and what
# only shows on a day full of orders takes a seed of few faults.
DENSITIES = (0.03, 0.03, 0.12, 0.25, 0.45)

# Classes that only tell something together: a seed plays some of these for certain.
STORIES: tuple[frozenset[str], ...] = tuple(
    map(
        frozenset,
        (
            {"operator.flatten", "order.hidden", "broker.forgets_ids"},
            {"fill.late_activity", "stream.missing", "fill.partial"},
            {"process.at_cutoff", "send.slow", "send.lost_before"},
            {"broker.down", "send.lost_before"},
            {"operator.pause"},
            {"operator.kill_in_send", "send.slow"},
            {"read.regressed", "fill.partial", "fill.after_cancel"},
            {"send.crossed"},
            {"market.slump", "setup.losses"},
            {"market.swing", "books.broken", "setup.stops", "forecast.steady"},
            {"market.swing", "process.deployed", "setup.stops", "forecast.steady"},
            {"market.swing", "account.unusable", "setup.stops", "forecast.steady"},
            {"broker.shows_nothing", "read.empty_positions", "forecast.steady", "operator.adopt"},
            {"broker.shows_nothing", "read.empty_positions", "setup.short"},
            {"operator.flatten", "process.crash", "cancel.stuck"},
            {"corporate.split", "activity.hours_late", "operator.adopt", "books.broken"},
            {"send.lost_before", "send.lost_after", "send.crossed"},
            {"market.closed", "market.hours", "market.halted", "clock.skewed"},
            {"books.broken"},
            {"corporate.split", "money.dividend", "money.fee", "money.transfer"},
            {"fill.over", "stream.missing"},
            {"fill.busted", "fill.corrected", "operator.adopt"},
            {"asset.ended", "operator.adopt", "operator.flatten"},
            {"books.broken", "operator.adopt", "hand.trade"},
            {"send.rate_limited", "send.absurd_wait", "send.slow"},
            {"fill.slow", "fill.while_canceling", "fill.after_cancel", "cancel.stuck"},
            {"fill.twins", "fill.partial", "fill.other_ids", "fill.late_activity"},
            {"account.odd_equity"},
            {"operator.kill", "operator.unsuspend"},
            {"process.crash", "send.lost_after", "order.hidden"},
            {"process.crash_in_send", "process.upgraded", "setup.limits"},
            {"mqtt.command", "mqtt.replayed", "mqtt.retained", "mqtt.skewed"},
            {"mqtt.command", "mqtt.forged", "mqtt.altered", "mqtt.garbage"},
            {"setup.short", "market.slump", "setup.stops"},
            {"setup.short", "operator.flatten"},
            {"setup.limits", "setup.odd_prices"},
            {"setup.strategies", "forecast.odd", "forecast.undecided"},
            {"events.known", "events.down", "data.odd_volume"},
        ),
    )
)
MOST_STORIES = 4


class Faults:
    """The dice of one seed."""

    def __init__(
        self, seed: int, *, dropped: Collection[str] = (), only: Collection[str] | None = None
    ) -> None:
        self.seed = seed
        self.counts: Counter[str] = Counter()
        self.is_on = True
        self.rates: dict[str, float] = {}
        self._streams: dict[str, random.Random] = {}
        story = _stories(seed) if only is None else frozenset()
        share = random.Random(f"{seed}:density").choice(DENSITIES)
        for name, (low, high) in CLASSES.items():
            draw = random.Random(f"{seed}:mix:{name}")
            is_in = draw.random() < share if only is None else name in only
            rate = draw.uniform(low, high)
            if name in story:
                is_in, rate = True, max(rate, (low + high) / 2)
            if is_in and name not in dropped:
                self.rates[name] = rate

    def has(self, name: str) -> bool:
        """Tell whether a class that needs no dice is in this seed's swarm."""
        if name not in self.rates:
            return False
        self.counts[name] += 1
        return True

    def strikes(self, name: str) -> bool:
        """Throw the dice of one class."""
        rate = self.rates.get(name)
        if rate is None or not self.is_on:
            return False
        if self.dice(name).random() >= rate:
            return False
        self.counts[name] += 1
        return True

    def dice(self, name: str) -> random.Random:
        """Return the random numbers of one purpose."""
        found = self._streams.get(name)
        if found is None:
            found = self._streams[name] = random.Random(f"{self.seed}:{name}")
        return found

    def span(self, name: str, low: float, high: float) -> float:
        """Draw a span of time."""
        return self.dice(f"{name}:span").uniform(low, high)

    def pick(self, name: str, items: list[_T]) -> _T:
        """Draw one of a list."""
        return self.dice(f"{name}:pick").choice(items)


def _stories(seed: int) -> frozenset[str]:
    draw = random.Random(f"{seed}:story")
    return frozenset().union(*draw.sample(STORIES, draw.randint(0, MOST_STORIES)))
