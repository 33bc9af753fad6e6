"""The page in a real browser, before a daemon that fails in every way the page can meet."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from daemon.web import api
from tests.support.browser import Page, browser_page
from tests.support.tools import tool
from transport import serving

STATIC = Path(api.__file__).parent / "static"
LIMITS = {
    "max_drawdown_pct": 5.0,
    "max_daily_loss_pct": 3.0,
    "reduce_at_daily_loss_pct": 2.0,
    "max_gross_pct": 100.0,
    "max_position_pct": 10.0,
}
OVERVIEW: dict[str, Any] = {
    "mode": "paper",
    "mode_name": "PAPER",
    "account_tail": "0001",
    "trading_state": "ACTIVE",
    "trading_state_reason": "",
    "kill": {"engaged": False, "reason": None, "at": None},
    "session": {"date": "2026-06-04", "phase": "submit"},
    "equity": "100000",
    "equity_at": "2026-06-04T14:30:00+00:00",
    "high_water_mark": "100000",
    "drawdown_pct": 0.0,
    "daily_pnl": "0",
    "daily_pnl_pct": 0.0,
    "open_orders": 0,
    "unknown_orders": 0,
    "locked_symbols": [],
    "breakers": {},
    "forecast_source": "local",
    "demoted_sources": {},
    "reconciled_at": "2026-06-04T14:30:00+00:00",
    "market_check": "agrees",
    "now": "2026-06-04T14:30:10+00:00",
    "speed": 1.0,
    "sequence": 1,
    "started_at": "2026-06-04T12:00:00+00:00",
    "paused": None,
    "control": True,
    "next_run": None,
    "tomorrow": None,
    "stream": {"connected": True, "last_event_at": None},
    "limits": LIMITS,
    "costs": {
        "gpu_day_usd": "0",
        "gpu_day_budget_usd": "10",
        "month_usd": "0",
        "month_budget_usd": "100",
    },
    "accuracy": {},
    "is_compared": True,
    "problems": [],
}
ORDER = {
    "symbol": "AAPL",
    "side": "buy",
    "quantity": "10",
    "limit_price": "100",
    "state": "filled",
    "filled_quantity": "10",
    "filled_avg_price": "100",
    "sent_at": None,
    "state_reason": "",
    "reason": "forecast up",
}


class Pretended:
    """What the page asks: the listings, the stream of events, the buttons."""

    def __init__(self) -> None:
        self.overview = dict(OVERVIEW)
        self.listings: dict[str, Any] = {
            "scores": {"standings": [], "matured": 0, "locked": 0, "groups": {"source": []}}
        }
        self.broken: set[str] = set()
        self.is_full = False
        self.followers = 0
        self.answers_buttons = asyncio.Event()
        self._changed = asyncio.Event()

    def change(self, **changes: Any) -> None:
        """Tell every open page that something changed."""
        sequence = self.overview["sequence"] + 1
        self.overview = {**self.overview, "sequence": sequence, **changes}
        self._changed.set()
        self._changed = asyncio.Event()

    def app(self) -> Starlette:
        """Return the application."""
        return Starlette(
            routes=[
                Route("/", lambda _: FileResponse(STATIC / "index.html")),
                Route("/static/{name}", self._static),
                Route("/api/v1/events", self._events),
                Route("/api/v1/kill", self._button, methods=["POST"]),
                Route("/api/v1/{name}", self._listing),
            ]
        )

    def _static(self, request: Request) -> Response:
        return FileResponse(STATIC / request.path_params["name"])

    def _listing(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name in self.broken:
            return JSONResponse({"detail": "no"}, status_code=503)
        return JSONResponse(self.listings.get(name, []))

    async def _button(self, _: Request) -> Response:
        await self.answers_buttons.wait()
        return JSONResponse({"engaged": True, "reason": "x"}, status_code=202)

    async def _events(self, _: Request) -> Response:
        if self.is_full:
            return JSONResponse({"detail": "too many pages are open"}, status_code=503)
        return StreamingResponse(self._told(), media_type="text/event-stream")

    async def _told(self) -> AsyncIterator[str]:
        self.followers += 1
        try:
            while True:
                changed = self._changed
                yield f"event: overview\ndata: {json.dumps(self.overview)}\n\n"
                await changed.wait()
        finally:
            self.followers -= 1


@pytest.fixture
async def daemon() -> Pretended:
    return Pretended()


@contextlib.asynccontextmanager
async def opened(daemon: Pretended, tmp_path: Path) -> AsyncIterator[Page]:
    listener = serving.listen("127.0.0.1", 0)
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
    server = await serving.start_serving(daemon.app(), listener, ws="none")
    try:
        async with browser_page(tool("chromium"), tmp_path / "profile") as page:
            await page.show(url)
            yield page
    finally:
        await serving.cut_off(server)


def says(name: str, text: str) -> str:
    return f"document.getElementById('{name}').innerText.includes({json.dumps(text)})"


async def test_a_page_that_was_refused_the_events_asks_again(
    daemon: Pretended, tmp_path: Path
) -> None:
    daemon.is_full = True
    async with opened(daemon, tmp_path) as page:
        await asyncio.sleep(1)
        daemon.is_full = False

        await page.until(says("state", "ACTIVE"))


async def test_a_listing_that_cannot_be_read_is_named_and_keeps_no_other_away(
    daemon: Pretended, tmp_path: Path
) -> None:
    daemon.listings["orders"] = [ORDER]
    daemon.broken = {"reports"}
    async with opened(daemon, tmp_path) as page:
        await page.until(says("orders", "AAPL"))
        await page.until(says("banner", "reports"))

        daemon.broken = set()
        await page.until("document.getElementById('banner').hidden")
        assert await page.value(says("reports", "first report"))


async def test_books_that_nobody_compared_do_not_agree(daemon: Pretended, tmp_path: Path) -> None:
    daemon.change(reconciled_at=None, is_compared=False)
    async with opened(daemon, tmp_path) as page:
        await page.until(says("books-why", "never compared"))
        assert await page.value(says("books", "not compared"))

        daemon.change(reconciled_at=OVERVIEW["reconciled_at"], is_compared=True)
        await page.until(says("books", "agree"))


async def test_what_blocks_entries_is_told_before_the_next_look_and_hides_no_halt(
    daemon: Pretended, tmp_path: Path
) -> None:
    daemon.change(paused="lunch")
    async with opened(daemon, tmp_path) as page:
        await page.until(says("state", "PAUSED"))
        daemon.change(paused=None, market_check="the broker closes at 13:00, not 16:00")
        await page.until(says("state", "REDUCING"))
        assert await page.value(says("state-why", "closes at 13:00"))

        halted = {"trading_state": "HALTED", "trading_state_reason": "storage: no space"}
        daemon.change(paused="lunch", market_check="agrees", **halted)
        await page.until(says("state", "HALTED"))
        assert await page.value(says("state-why", "storage: no space"))
        assert await page.value(says("state-why", "lunch"))


async def test_the_figure_of_a_session_that_is_over_is_not_told_as_that_of_today(
    daemon: Pretended, tmp_path: Path
) -> None:
    async with opened(daemon, tmp_path) as page:
        await page.until(says("pnl", "today"))

        # Sunday evening in New York.
        daemon.change(now="2026-06-08T01:00:00+00:00")
        await page.until(says("pnl", "on 2026-06-04"))
        assert await page.value(says("m-daily", "loss on 2026-06-04"))


async def test_a_loss_that_is_not_known_is_not_told_as_none(
    daemon: Pretended, tmp_path: Path
) -> None:
    daemon.change(equity=None, drawdown_pct=None, daily_pnl=None, daily_pnl_pct=None)
    async with opened(daemon, tmp_path) as page:
        await page.until(says("m-drawdown", "of 5"))
        await page.until(says("m-gross", "of 100"))

        for name in ("m-drawdown", "m-daily", "m-gross", "m-largest"):
            assert await page.value(says(name, "\u2013 of")), name


async def test_a_button_that_nobody_answers_says_so(daemon: Pretended, tmp_path: Path) -> None:
    async with opened(daemon, tmp_path) as page:
        await page.until(says("state", "ACTIVE"))
        await page.value("window.confirm = () => true")
        await page.value("document.getElementById('token').value = 'a'.repeat(24)")
        await page.value("document.getElementById('kill').click()")

        await page.until(says("control-said", "Asking"))
        await page.until(says("control-said", "Not confirmed: no answer within 10 s"))
        assert await page.value(says("control-said", "openbell kill"))

        daemon.answers_buttons.set()
        await page.value("document.getElementById('kill').click()")
        await page.until(says("control-said", "Latched"))


async def test_a_daemon_that_fell_silent_is_told_in_the_open(
    daemon: Pretended, tmp_path: Path
) -> None:
    async with opened(daemon, tmp_path) as page:
        await page.until(says("state", "ACTIVE"))
        await page.value("Date.now = ((now) => () => now() + 30000)(Date.now)")

        await page.until(says("banner", "no news from the daemon since"))
        assert await page.value("document.title") == "no news · openbell"

        await page.value("opened = 0")
        daemon.change()
        await page.until("document.getElementById('banner').hidden")


async def test_a_page_that_nobody_looks_at_takes_no_connection_from_the_others(
    daemon: Pretended, tmp_path: Path
) -> None:
    async with opened(daemon, tmp_path) as page:
        await page.until(says("state", "ACTIVE"))
        for state, followers in (("hidden", 0), ("visible", 1)):
            await page.value(
                "Object.defineProperty(document, 'visibilityState',"
                f" {{value: '{state}', configurable: true}});"
                "document.dispatchEvent(new Event('visibilitychange'))"
            )
            async with asyncio.timeout(10):
                while daemon.followers != followers:  # noqa: ASYNC110 - the browser closes it
                    await asyncio.sleep(0.05)

        daemon.change(equity="123456")
        await page.until(says("equity", "123,456"))
