"""Secrets: read from where they may lie, shown nowhere.

systemd puts them in ``$CREDENTIALS_DIRECTORY``; the environment is allowed in paper mode
only, because every child process and many tools can read it.
"""

import contextlib
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from daemon.config import Config
from domain.errors import ConfigError
from domain.secrets import Secret

BROKER_KEY_ID = "APCA_API_KEY_ID"
BROKER_SECRET_KEY = "APCA_API_SECRET_KEY"  # noqa: S105 - the name, not the secret
CLOUDFLARE_TOKEN = "CLOUDFLARE_API_TOKEN"  # noqa: S105
FORECAST_TOKEN = "OPENBELL_FORECAST_TOKEN"  # noqa: S105
HTTP_TOKEN = "OPENBELL_HTTP_TOKEN"  # noqa: S105
SCALE_TOKEN = "OPENBELL_SCALE_TOKEN"  # noqa: S105
ALPHAVANTAGE_KEY = "ALPHAVANTAGE_API_KEY"
FINNHUB_KEY = "FINNHUB_API_KEY"
MQTT_USER = "OPENBELL_MQTT_USER"
MQTT_PASSWORD = "OPENBELL_MQTT_PASSWORD"  # noqa: S105

_SECRETS = (
    BROKER_KEY_ID,
    BROKER_SECRET_KEY,
    CLOUDFLARE_TOKEN,
    FORECAST_TOKEN,
    HTTP_TOKEN,
    SCALE_TOKEN,
    MQTT_PASSWORD,
    ALPHAVANTAGE_KEY,
    FINNHUB_KEY,
)

# The embedded broker checks keys like the real one; these open nothing else.
_EMBEDDED = {BROKER_KEY_ID: "PKEMBEDDED", BROKER_SECRET_KEY: "embedded-broker-on-loopback"}


@dataclass(frozen=True, slots=True)
class Credentials:
    """Finds secrets by name."""

    mode: str
    is_embedded: bool
    environ: Mapping[str, str] = field(repr=False)

    @classmethod
    def of(cls, config: Config, environ: Mapping[str, str] = os.environ) -> "Credentials":
        """Bind the rules of a configuration to an environment."""
        is_embedded = config.broker.kind == "embedded"
        return cls(mode=config.mode, is_embedded=is_embedded, environ=environ)

    def find(self, name: str) -> Secret | None:
        """Return a secret, or None.

        Raises:
            ConfigError: it lies where it may not, or others may read its file.
        """
        if self.is_embedded and name in _EMBEDDED:
            return Secret(_EMBEDDED[name])
        if (path := self._file(name)) is not None:
            return Secret(_read_private(path))
        if name not in self.environ:
            return None
        if self.mode == "live":
            raise ConfigError(
                f"{name} is in the environment; live mode takes it from "
                f"$CREDENTIALS_DIRECTORY/{name} only (systemd LoadCredential)"
            )
        return Secret(self.environ[name].strip())

    def require(self, name: str) -> Secret:
        """Return a secret that must be there.

        Raises:
            ConfigError: it is not, with the place to put it.
        """
        found = self.find(name)
        if found:
            return found
        where = f"$CREDENTIALS_DIRECTORY/{name}"
        also = "" if self.mode == "live" else f" or set the environment variable {name}"
        raise ConfigError(f"{name} is missing; put it into {where}{also}")

    def place(self, name: str) -> str:
        """Tell where a secret that is there was found, for a person."""
        path = self._file(name)
        return str(path.parent) if path is not None else "the environment"

    def _file(self, name: str) -> Path | None:
        directory = self.environ.get("CREDENTIALS_DIRECTORY")
        if not directory:
            return None
        path = Path(directory) / name
        try:
            return path if path.exists() else None
        except OSError as exc:
            raise ConfigError(
                f"{directory} cannot be looked into ({exc.strerror}); give the folder to the user"
                " that runs openbell, mode 700"
            ) from exc

    def known(self) -> tuple[str, ...]:
        """Return every secret's text, for the log to blot out.

        Raises:
            ConfigError: as for ``find``.
        """
        return _texts(one.find(name) for one, name in self._places())

    def readable(self) -> tuple[str, ...]:
        """Return what can be read of ``known``: whoever stops everything needs no other key."""
        found: list[Secret | None] = []
        for one, name in self._places():
            # What was not read here is in no line of this log either.
            with contextlib.suppress(ConfigError, OSError):
                found.append(one.find(name))
        return _texts(found)

    def _places(self) -> Iterator[tuple["Credentials", str]]:
        # The keys of an account also where the embedded broker stands: they open its data.
        for one in (self, replace(self, is_embedded=False)):
            yield from ((one, name) for name in _SECRETS)


def _texts(found: Iterable[Secret | None]) -> tuple[str, ...]:
    return tuple(sorted({secret.reveal() for secret in found if secret}))


def _read_private(path: Path) -> str:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as exc:
        raise ConfigError(
            f"{path} cannot be read ({exc.strerror}); put the file itself there, mode 600, of the"
            " user that runs openbell"
        ) from exc
    with os.fdopen(descriptor, encoding="utf-8") as file:
        found = os.fstat(descriptor)
        if _is_open_to_others(found):
            raise ConfigError(f"{path}: others may read it; run `chmod 600` on it")
        if found.st_uid not in (0, os.geteuid()):
            raise ConfigError(
                f"{path}: belongs to another user; give it to the one that runs openbell"
            )
        try:
            return file.read().strip()
        except UnicodeDecodeError:
            raise ConfigError(f"{path}: is no text; paste the key into it again") from None


def _is_open_to_others(found: os.stat_result) -> bool:
    rights = stat.S_IMODE(found.st_mode) & 0o077
    # systemd grants the service's user by an access list, whose mask shows as group rights.
    is_granted_by_root = found.st_uid == found.st_gid == 0 != os.geteuid()
    return bool(rights & ~0o040 if is_granted_by_root else rights)
