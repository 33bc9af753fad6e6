"""Turn TOML and environment into frozen dataclasses, and say exactly what is wrong.

Standard library only: reading commands must start as fast as a bare program, and the
usual settings package costs twice that alone (see docs/decisions).
"""

import dataclasses
import datetime as dt
import difflib
import math
import re
import tomllib
import types
import typing
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from ipaddress import IPv4Address, ip_address
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from domain.errors import ConfigError

ENVIRONMENT_PREFIX = "OPENBELL__"
# The names of secrets and of live mode have no two underscores anywhere.
_ALMOST = re.compile("OPENBELL_[^_].*__")

T = TypeVar("T")


class _FromEnvironment(str):
    """A value whose type is known only once its key is."""

    __slots__ = ()


def setting(
    default: Any = dataclasses.MISSING,
    *,
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] = (),
    schemes: tuple[str, ...] = (),
    has_keys: bool = False,
    is_secret: bool = False,
) -> Any:
    """Declare one key: its default, and the values it may take (bounds included).

    ``schemes`` are those of an address, the encrypted one first; one whose default is empty
    may be left empty.  ``has_keys`` tells that keys travel to it, ``is_secret`` that the value
    itself lets whoever reads it do something: no error repeats it.
    """
    metadata = {
        "low": low,
        "high": high,
        "choices": choices,
        "schemes": schemes,
        "has_keys": has_keys,
        "is_secret": is_secret,
    }
    if isinstance(default, list | dict):
        return dataclasses.field(default_factory=lambda: type(default)(default), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def section(cls: type[T]) -> T:
    """Declare a sub-table whose keys all have defaults."""
    made: T = dataclasses.field(default_factory=cls)
    return made


def read_toml(path: Path) -> dict[str, Any]:
    """Read a file.

    Raises:
        ConfigError: it is missing, unreadable, not UTF-8 or not TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(
            f"{path}: no such file; write one with `openbell init` or name yours with --config"
        ) from None
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError(f"{path}: cannot be read ({exc}); check the file and its owner") from exc
    except tomllib.TOMLDecodeError as exc:
        raise ConfigError(f"{path}: not valid TOML: {exc}") from exc


def with_environment(table: dict[str, Any], environ: Mapping[str, str]) -> dict[str, Any]:
    """Lay ``OPENBELL__SECTION__KEY=value`` over the file; text stays text, the rest is TOML.

    Raises:
        ConfigError: a name is not in that form, and would count for nothing.
    """
    merged = _copy(table)
    for name in sorted(environ):
        if _ALMOST.match(name):
            right = name.replace("_", "__", 1)
            raise ConfigError(f"{name}: sets nothing; did you mean `{right}`?")
        if name.startswith(ENVIRONMENT_PREFIX):
            keys = name.removeprefix(ENVIRONMENT_PREFIX).lower().split("__")
            _put(merged, keys, _FromEnvironment(environ[name]), name)
    return merged


def build(cls: type[T], table: Mapping[str, Any], where: str = "") -> T:
    """Make ``cls`` from a table.

    Raises:
        ConfigError: naming the key, its value, what is allowed, and the nearest key.
    """
    if not isinstance(table, Mapping):
        raise ConfigError(f"{where or 'config'}: must be a section, not {table!r}")
    fields = {field.name: field for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    for key in table:
        if key not in fields:
            raise ConfigError(_unknown(_join(where, key), key, fields))
    hints = typing.get_type_hints(cls)
    values = {
        name: _value(table[name], hints[name], field, _join(where, name))
        for name, field in fields.items()
        if name in table
    }
    for name, field in fields.items():
        is_required = field.default is field.default_factory is dataclasses.MISSING
        if is_required and name not in values:
            raise ConfigError(
                f"{_join(where, name)}: is missing; add it, as in what `openbell init` writes"
            )
    return cls(**values)


def _unknown(name: str, key: str, known: Mapping[str, Any]) -> str:
    near = difflib.get_close_matches(key, known, n=1)
    hint = f"did you mean `{near[0]}`?" if near else f"known keys: {', '.join(known)}"
    return f"{name}: unknown key; {hint}"


def _value(raw: Any, hint: Any, field: dataclasses.Field[Any], where: str) -> Any:
    if dataclasses.is_dataclass(hint):
        return build(typing.cast(type, hint), raw, where)
    try:
        return _setting(raw, hint, field, where)
    except ConfigError as exc:
        if not field.metadata.get("is_secret"):
            raise
        raise ConfigError(f"{where}: {str(exc).rpartition(': ')[2]}") from None


def _setting(raw: Any, hint: Any, field: dataclasses.Field[Any], where: str) -> Any:
    value = _typed(raw, hint, where)
    low, high = field.metadata.get("low"), field.metadata.get("high")
    choices = field.metadata.get("choices") or ()
    if choices and value not in choices:
        raise ConfigError(f"{where} = {raw!r}: must be one of {', '.join(map(repr, choices))}")
    if (schemes := field.metadata.get("schemes")) and (value or field.default):
        if not field.metadata["is_secret"]:
            _check_bare(value, where)
        _check_address(value, schemes, where)
        if field.metadata["has_keys"]:
            _check_encrypted(value, schemes[0], where)
    if isinstance(value, int | float | Decimal) and not isinstance(value, bool):
        _check_range(value, low, high, where)
    return value


def _check_range(value: Any, low: float | None, high: float | None, where: str) -> None:
    if low is None and high is None:
        # Its section checks it, and tells the bounds.
        return
    is_above = low is None or value >= low
    is_below = high is None or value <= high
    if is_above and is_below and not math.isnan(value):
        return
    bounds = f"from {'any' if low is None else low} to {'any' if high is None else high}"
    raise ConfigError(f"{where} = {value}: out of range, allowed is {bounds}")


def _check_address(text: str, schemes: tuple[str, ...], where: str) -> None:
    """Refuse what nothing could be sent to; the first request would find out, in a session."""
    try:
        parts = urlsplit(text)
        # Asking for the port is what checks it.
        is_complete = parts.scheme in schemes and bool(parts.hostname) and parts.port != 0
        if (parts.hostname or "x").replace(".", "").isdigit():
            IPv4Address(parts.hostname)
    except ValueError:
        is_complete = False
    if not is_complete or " " in text or not (text.isascii() and text.isprintable()):
        wanted = " or ".join(f"{scheme}://HOST[:PORT]" for scheme in schemes)
        raise ConfigError(f"{where} = {text!r}: must be an address such as {wanted}")


def _check_bare(text: str, where: str) -> None:
    """Refuse a password in an address: addresses stand in logs, in the state and on the page."""
    if "@" in text.partition("://")[2].partition("/")[0]:
        raise ConfigError(
            f"{where}: must be an address without user and password; a token goes into a file of"
            " $CREDENTIALS_DIRECTORY"
        )


def _check_encrypted(text: str, scheme: str, where: str) -> None:
    """Refuse to send keys in the clear, past this machine."""
    parts = urlsplit(text)
    if parts.scheme != scheme and not is_loopback(parts.hostname or ""):
        raise ConfigError(
            f"{where} = {text!r}: your keys travel there, so it must begin with {scheme}:// or be"
            " on loopback"
        )


def is_loopback(host: str) -> bool:
    """Tell whether a host is this machine and nothing else."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _typed(raw: Any, hint: Any, where: str) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if isinstance(raw, _FromEnvironment):
        raw = (
            str(raw)
            if str in (hint, *arguments[:1]) and origin in (None, types.UnionType)
            else _parse(raw)
        )
    if origin is types.UnionType:
        return None if raw is None else _typed(raw, arguments[0], where)
    if origin in (list, tuple):
        if not isinstance(raw, list):
            raise _wrong_type(raw, 'a list such as ["a", "b"]', where)
        return origin(_typed(item, arguments[0], f"{where}[{n}]") for n, item in enumerate(raw))
    if origin is dict:
        if not isinstance(raw, Mapping):
            raise _wrong_type(raw, "a section", where)
        return {key: _typed(item, arguments[1], _join(where, key)) for key, item in raw.items()}
    return _scalar(raw, hint, where)


def _scalar(raw: Any, hint: Any, where: str) -> Any:
    is_number = isinstance(raw, int | float) and not isinstance(raw, bool)
    if hint is Any:
        return _plain(raw)
    if hint is float and is_number:
        return float(raw)
    if hint is Decimal and is_number:
        return _decimal(raw, where)
    if hint is dt.datetime and isinstance(raw, str):
        raw = _moment(raw, where)
    if hint is dt.datetime and isinstance(raw, dt.datetime) and raw.tzinfo is None:
        raise ConfigError(f"{where} = {raw}: needs an offset, such as 2022-12-14T08:00:00-05:00")
    if isinstance(hint, type) and type(raw) is hint:
        return raw
    raise _wrong_type(raw, getattr(hint, "__name__", str(hint)), where)


def _plain(raw: Any) -> Any:
    """Values of a table that somebody else checks: what came from the environment is parsed."""
    if isinstance(raw, Mapping):
        return {key: _plain(item) for key, item in raw.items()}
    return _parse(raw) if isinstance(raw, _FromEnvironment) else raw


def _decimal(raw: float, where: str) -> Decimal:
    try:
        return Decimal(str(raw))
    except InvalidOperation as exc:
        raise _wrong_type(raw, "a number", where) from exc


def _moment(raw: str, where: str) -> dt.datetime:
    try:
        return dt.datetime.fromisoformat(raw)
    except ValueError:
        raise _wrong_type(raw, "a time such as 2022-12-14T08:00:00-05:00", where) from None


def _wrong_type(raw: Any, wanted: str, where: str) -> ConfigError:
    names = {
        "str": "a text",
        "int": "a whole number",
        "float": "a number",
        "Decimal": "a number",
        "bool": "true or false",
    }
    return ConfigError(f"{where} = {raw!r}: must be {names.get(wanted, wanted)}")


def _join(where: str, key: str) -> str:
    return f"{where}.{key}" if where else key


def _copy(table: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _copy(item) if isinstance(item, Mapping) else item for key, item in table.items()}


def _put(table: dict[str, Any], keys: list[str], value: Any, name: str) -> None:
    for key in keys[:-1]:
        table = table.setdefault(key, {})
        if not isinstance(table, dict):
            raise ConfigError(f"{name}: `{key}` is a key, not a section")
    table[keys[-1]] = value


def _parse(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
