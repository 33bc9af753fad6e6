"""Whose requests the page takes, by the names and the port that it is served under."""

import httpx
import pytest
from starlette.types import Receive, Scope, Send

from daemon.web.guard import Guard


async def page(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"here"})


async def answered(port: int, **headers: str) -> int:
    transport = httpx.ASGITransport(Guard(page, port=port, counted=lambda status: None))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        return (await client.get("/", headers=headers)).status_code


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "[::1]", "LOCALHOST"])
async def test_on_the_default_port_a_browser_leaves_it_out(name: str) -> None:
    assert await answered(80, Host=name, Origin=f"http://{name}") == 200
    assert await answered(80, Host=f"{name}:80") == 200


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:80", "evil.example:8787", ""])
async def test_elsewhere_the_port_belongs_to_the_host(host: str) -> None:
    assert await answered(8787, Host=host) == 421
    assert await answered(8787, Host="127.0.0.1:8787", Origin=f"http://{host}") == 403


async def test_the_default_port_opens_no_other_host() -> None:
    assert await answered(80, Host="evil.example") == 421
    assert await answered(80, Host="127.0.0.1", Origin="http://evil.example") == 403
