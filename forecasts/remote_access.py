"""How a forecast server wants to be asked: in which header the token travels, and how.

Most want ``Authorization: Bearer TOKEN``.  Behind PAI-EAS the token stands alone, and a
ModelScope Studio keeps ``Authorization`` for itself, so that another header must carry it.
"""

import re
from collections.abc import Mapping

from domain.errors import ConfigError
from domain.secrets import Secret

AUTH_HEADER = "Authorization"
AUTH_SCHEME = "Bearer"

# A field name as HTTP defines it, and a word that may stand before a token.
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}")
_SCHEME = re.compile(r"[A-Za-z0-9._~+-]{0,32}")
# The client writes these itself; a token there would break the request or be sent twice.
_OURS = {
    "accept-encoding",
    "connection",
    "content-length",
    "content-type",
    "host",
    "inference-header-content-length",
    "transfer-encoding",
    "user-agent",
}


def auth_headers(
    token: Secret | None, *, header: str = AUTH_HEADER, scheme: str = AUTH_SCHEME
) -> Mapping[str, Secret]:
    """Return the header that carries a token; none without a token.

    Args:
        token: the secret, or None or empty where the server asks for none.
        header: its name.
        scheme: the word before the token; empty sends the token alone.

    Raises:
        ConfigError: no usable header or scheme.
    """
    if _HEADER.fullmatch(header) is None or header.lower() in _OURS:
        raise ConfigError(
            f"forecasts.remote.auth_header {header[:64]!r} cannot carry a token; "
            f"use {AUTH_HEADER} or a header of the service, such as X-Api-Key"
        )
    if _SCHEME.fullmatch(scheme) is None:
        raise ConfigError(
            f"forecasts.remote.auth_scheme {scheme[:32]!r} is not one word; "
            f'use {AUTH_SCHEME}, or "" to send the token alone'
        )
    if token is None or not token:
        return {}
    return {header: Secret(f"{scheme} {token.reveal()}".lstrip())}
