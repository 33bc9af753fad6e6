"""The SDK's TradingStream with its private parts checked and its gaps closed.

Kept apart from alpaca_stream so that the SDK, half a second to import, is loaded only
where a stream is really opened.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

from alpaca.trading.stream import TradingStream
from websockets.exceptions import WebSocketException

from domain.errors import DataError
from domain.secrets import Secret
from transport.alpaca_connect import DirectConnect, Socket, check_sdk, parameters, unused
from transport.alpaca_stream import LONGEST_SHOWN, Refused, StreamSettings

Take = Callable[[Mapping[str, object]], None]

# What we call or override, with the parameters it has in the pinned SDK.
PINNED: Mapping[str, tuple[str, ...]] = {
    "_start_ws": ("self",),
    "_connect": ("self",),
    "_auth": ("self",),
    "_dispatch": ("self", "msg"),
    "_subscribe_trade_updates": ("self",),
    "subscribe_trade_updates": ("self", "handler"),
}


class HardenedStream(Socket, TradingStream):
    """TradingStream driven from outside: connect, authenticate, subscribe, hand over frames."""

    def __init__(self, settings: StreamSettings, key_id: Secret, secret_key: Secret) -> None:
        super().__init__(
            key_id.reveal(), secret_key.reveal(), raw_data=True, url_override=settings.url
        )
        self._open_params = parameters(settings)
        self._keys = {"key_id": key_id, "secret_key": secret_key}
        self._take: Take = _refuse

    async def start(self, take: Take) -> None:
        """Connect, authenticate and ask for trade updates; ``take`` gets every message."""
        self._take = take
        self.subscribe_trade_updates(unused)
        try:
            await self._start_ws()  # type: ignore[no-untyped-call]
        except (ValueError, AttributeError, TypeError) as exc:
            raise WebSocketException("the stream's first frame has no known form") from exc

    async def dispatch(self, message: Mapping[str, object]) -> None:
        """Hand a message over through the SDK's own seam."""
        await self._dispatch(dict(message))

    async def _connect(self) -> None:
        self._ws = await DirectConnect(self._endpoint, **self._open_params)

    async def _auth(self) -> None:
        # The SDK takes every answer but one for refused keys, also an error of the server's own.
        keys = {name: key.reveal() for name, key in self._keys.items()}
        await self._ws.send(json.dumps({"action": "authenticate", "data": keys}))
        answer = json.loads(await self._ws.recv())
        status = answer.get("data").get("status")
        if status == "unauthorized":
            raise Refused("the trade stream did not accept the keys (unauthorized)")
        if status != "authorized":
            raise WebSocketException(
                f"the stream says nothing of the keys: {str(answer)[:LONGEST_SHOWN]}"
            )

    async def _dispatch(self, msg: dict[str, Any]) -> None:
        self._take(msg)


def open_stream(settings: StreamSettings, key_id: Secret, secret_key: Secret) -> HardenedStream:
    """Build the stream; it connects when started.

    Raises:
        ConfigError: the installed SDK is not the one this was written for.
    """
    check_sdk(TradingStream, PINNED)
    return HardenedStream(settings, key_id, secret_key)


def _refuse(_: Mapping[str, object]) -> None:
    raise DataError("trade stream: a message came before the stream was started")
