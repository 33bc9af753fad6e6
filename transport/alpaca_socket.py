"""The SDK's StockDataStream and NewsDataStream, driven from outside.

Kept apart from alpaca_feed so that the SDK, half a second to import, is loaded only
where a stream is really opened.
"""

from collections.abc import Iterable, Mapping

import msgpack  # type: ignore[import-untyped]
from alpaca.data.live.news import NewsDataStream
from alpaca.data.live.stock import StockDataStream
from alpaca.data.live.websocket import DataStream
from websockets.exceptions import WebSocketException

from domain.ids import Symbol
from domain.secrets import Secret
from transport.alpaca_connect import DirectConnect, Socket, check_sdk, parameters, unused
from transport.alpaca_stream import Refused, StreamSettings

_KINDS: Mapping[str, type[StockDataStream] | type[NewsDataStream]] = {
    "stock": StockDataStream,
    "news": NewsDataStream,
}
# What we call, with the parameters it has in the pinned SDK.
_PINNED: Mapping[str, tuple[str, ...]] = {
    "_auth": ("self",),
    "_send_subscribe_msg": ("self",),
}


class DataSocket(Socket):
    """Connects, authenticates and subscribes with the SDK; reading is the caller's."""

    def __init__(self, kind: str, stream: DataStream, settings: StreamSettings) -> None:
        self._kind = kind
        self._stream = stream
        self._url = settings.url
        self._parameters = parameters(settings)
        self._parameters["extra_headers"] = {"Content-Type": "application/msgpack"}
        self._ws = None

    async def start(self, symbols: Iterable[Symbol], channels: Iterable[str]) -> None:
        """Connect, authenticate and subscribe ``symbols`` to each of ``channels``."""
        for channel in channels:
            self._stream._handlers[channel] = dict.fromkeys(symbols, unused)
        await self._connect()
        try:
            await self._stream._auth()
        except ValueError as exc:
            raise Refused(f"the {self._kind} stream did not accept the keys ({exc})") from exc
        except (KeyError, IndexError, TypeError, msgpack.UnpackException) as exc:
            raise WebSocketException("the stream's first frames have no known form") from exc
        await self._stream._send_subscribe_msg()

    async def _connect(self) -> None:
        self._ws = await DirectConnect(self._url, **self._parameters)
        self._stream._ws = self._ws
        try:
            (hello,) = msgpack.unpackb(await self._ws.recv())
            is_known = hello["T"] == "success" and hello["msg"] == "connected"
        except (ValueError, KeyError, TypeError, msgpack.UnpackException) as exc:
            raise WebSocketException("the stream's first frame has no known form") from exc
        if not is_known:
            raise WebSocketException(f"the stream does not greet: {str(hello)[:200]}")


def open_socket(
    kind: str, settings: StreamSettings, key_id: Secret, secret_key: Secret
) -> DataSocket:
    """Build the stream of a kind, "stock" or "news"; it connects when started.

    Raises:
        ConfigError: the installed SDK is not the one this was written for.
    """
    made = _KINDS[kind]
    check_sdk(made, _PINNED)
    stream = made(key_id.reveal(), secret_key.reveal(), raw_data=True, url_override=settings.url)
    return DataSocket(kind, stream, settings)
