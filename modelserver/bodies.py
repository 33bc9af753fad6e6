"""Reading request bodies: never more bytes or seconds than allowed, packed or not."""

import asyncio
import zlib

from starlette.requests import ClientDisconnect, Request

from modelserver.refusals import (
    BAD_REQUEST,
    TOO_LARGE,
    TOO_SLOW,
    UNKNOWN_ENCODING,
    InferenceRefused,
)

# zlib's own numbers: 16 above the window means gzip; plain deflate is the zlib format.
_WINDOWS = {"gzip": zlib.MAX_WBITS + 16, "deflate": zlib.MAX_WBITS}
_DISCARD_SECONDS = 2.0


async def read_body(request: Request, *, cap_bytes: int, seconds: float) -> bytes:
    """Read and unpack a body.

    Raises:
        InferenceRefused: too large, too slow, cut off, or packed in an unknown way.
    """
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding != "identity" and encoding not in _WINDOWS:
        raise InferenceRefused(
            UNKNOWN_ENCODING, f"content-encoding {encoding[:32]}: send gzip, deflate or none"
        )
    _refuse_announced(request, cap_bytes)
    body = bytearray()
    try:
        async with asyncio.timeout(seconds):
            async for part in request.stream():
                body += part
                if len(body) > cap_bytes:
                    raise _too_large(cap_bytes)
    except TimeoutError:
        raise InferenceRefused(TOO_SLOW, f"the body took over {seconds:g} s") from None
    except ClientDisconnect:
        raise InferenceRefused(BAD_REQUEST, "the request ended early") from None
    if encoding == "identity":
        return bytes(body)
    return await asyncio.to_thread(_unpacked, bytes(body), _WINDOWS[encoding], cap_bytes)


async def discard_body(request: Request, *, cap_bytes: int) -> None:
    """Read on for a moment: a client that is still sending would not see the refusal."""
    left = cap_bytes
    try:
        async with asyncio.timeout(_DISCARD_SECONDS):
            async for part in request.stream():
                left -= len(part)
                if left < 0:
                    return
    except (TimeoutError, ClientDisconnect, RuntimeError):
        # RuntimeError: the body was read already.
        return


def _refuse_announced(request: Request, cap_bytes: int) -> None:
    announced = request.headers.get("content-length", "")
    if announced.isascii() and announced.isdigit() and int(announced) > cap_bytes:
        raise _too_large(cap_bytes)


def _unpacked(body: bytes, window: int, cap_bytes: int) -> bytes:
    unpacker = zlib.decompressobj(window)
    try:
        plain = unpacker.decompress(body, cap_bytes + 1)
    except zlib.error as exc:
        raise InferenceRefused(BAD_REQUEST, f"the body cannot be unpacked: {exc}") from exc
    if len(plain) > cap_bytes:
        raise _too_large(cap_bytes)
    if not unpacker.eof or unpacker.unused_data:
        raise InferenceRefused(BAD_REQUEST, "the packed body is cut short or has a tail")
    return plain


def _too_large(cap_bytes: int) -> InferenceRefused:
    return InferenceRefused(TOO_LARGE, f"the body may have {cap_bytes} bytes")
