"""Checks of settings on construction, so that a wrong one is reported where it is written."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Final

from discord_tools.ipc.missing import MISSING

__all__ = (
    "MAX_KEY_BYTES",
    "check_limits",
    "checked_flag",
    "checked_headers",
    "checked_host",
    "checked_key",
    "checked_port",
    "checked_seconds",
    "checked_value",
    "without_key",
)

#: The longest key, in bytes. HTTP servers refuse header lines of more than 8 KiB.
MAX_KEY_BYTES: Final = 4096


def checked_key(value: Any) -> str | None:
    """Returns the key, or ``None`` where none was given.

    Raises
    ------
    TypeError
        It is not a string.
    ValueError
        It is empty or ``None``, which a missing environment variable often turns into, or no HTTP header can carry it.
    """
    if value is MISSING:
        return None
    return checked_value(value, "secret_key", " Leave it out to run without a key")


def checked_value(value: Any, name: str, hint: str = "") -> str:
    """Returns the value of a key, which must not be missing; see :func:`checked_key`.

    ``hint`` says what to do instead where it is ``None`` or empty.
    """
    if value is None:
        raise ValueError(f"{name} is None: is the environment variable set?{hint}")
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a str, not {type(value).__name__}")
    if not value.strip():
        raise ValueError(f"{name} is empty: is the environment variable set?{hint}")
    if value != value.strip() or not value.isprintable():
        raise ValueError(f"{name} must not begin or end with white space nor hold control characters")
    if len(value.encode(errors="surrogatepass")) > MAX_KEY_BYTES:
        raise ValueError(f"{name} must not be longer than {MAX_KEY_BYTES} bytes")
    return value


def without_key(text: str, key: str | None) -> str:
    """Returns a text that a server wrote without the key that it was shown, which an error may quote."""
    if key is not None:
        for written in (key, json.dumps(key)[1:-1], json.dumps(key, ensure_ascii=False)[1:-1]):
            text = text.replace(written, "***")
    return text


def checked_host(value: Any, *, any_address: bool = False) -> str:
    """Returns a host name or an IP address.

    Parameters
    ----------
    any_address: :class:`bool`
        Whether an empty string may stand for all addresses of the machine.

    Raises
    ------
    TypeError
        It is not a string.
    ValueError
        It is empty, a URL, or has a port or a path.
    """
    if not isinstance(value, str):
        raise TypeError(f'host must be a str, not {value!r}: write "localhost" for this machine')
    if not value and any_address:
        return value
    if not value or value != value.strip():
        raise ValueError(f'host is {value!r}: write a host name or an IP address, such as "localhost"')
    if "://" in value:
        raise ValueError(f"host is {value!r}: write the host name alone, without a scheme")
    if "/" in value or "?" in value or "#" in value or "@" in value:
        raise ValueError(f"host is {value!r}: write the host name alone, without a path, a query or a user")
    if value.startswith("["):
        raise ValueError(f"host is {value!r}: write an IPv6 address without brackets, and the port as port=")
    if value.count(":") == 1:
        raise ValueError(f"host is {value!r}: write the host name alone, and the port as port=")
    return value


def checked_port(value: Any, name: str, *, free: bool = False) -> int:
    """Returns a port. Strings of digits are accepted, since environment variables are strings.

    Parameters
    ----------
    free: :class:`bool`
        Whether 0 may stand for a free port that the system chooses.

    Raises
    ------
    TypeError
        It is not a number.
    ValueError
        It is out of range.
    """
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be an int, not {value!r}")
    lowest = 0 if free else 1
    if not lowest <= value <= 65535:
        raise ValueError(f"{name} is {value}: a port is a number from {lowest} to 65535")
    return int(value)


def checked_seconds(value: Any, name: str, *, zero: bool = False, infinite: bool = True) -> float:
    """Returns a duration in seconds.

    Raises
    ------
    TypeError
        It is not a number.
    ValueError
        It is negative or not a number of seconds.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} must be a number of seconds, not {value!r}")
    if math.isnan(value) or value < 0 or (value == 0 and not zero) or (math.isinf(value) and not infinite):
        raise ValueError(f"{name} is {value}: write {'0 or ' if zero else ''}a positive number of seconds")
    return value


def checked_flag(value: Any, name: str) -> bool:
    """Returns a flag. Only ``True`` and ``False`` are accepted: the text of an environment variable, ``"false"`` for
    example, would count as true.

    Raises
    ------
    TypeError
        It is something else.
    """
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be True or False, not {value!r:.100}")
    return value


def checked_headers(headers: Mapping[str, Any] | None) -> dict[str, Any]:
    """Returns headers that calls carry.

    Raises
    ------
    ValueError
        The secret key is among them.
    """
    checked = dict(headers or {})
    for name in checked:
        if isinstance(name, str) and name.lower() == "authorization":  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ValueError(f"headers must not have {name!r}: give the key as secret_key")
    return checked


def check_limits(limits: Any, zero: frozenset[str] = frozenset()) -> None:
    """Checks the fields of a dataclass of limits by their types: ``int`` is a size or a number, ``float`` a duration.

    Parameters
    ----------
    zero: frozenset[:class:`str`]
        Fields that may be 0.
    """
    for field in fields(limits):
        value, name = getattr(limits, field.name), f"{type(limits).__name__}.{field.name}"
        if field.type == "float":
            checked_seconds(value, name, zero=field.name in zero, infinite=False)
        elif isinstance(value, bool) or not isinstance(value, int):
            raise TypeError(f"{name} must be an int, not {value!r}")
        elif value < (0 if field.name in zero else 1):
            raise ValueError(
                f"{name} is {value}: write {'0 or ' if field.name in zero else ''}a positive number"
            )
    smallest = 4096
    if limits.message_bytes < smallest:
        raise ValueError(
            f"{type(limits).__name__}.message_bytes is {limits.message_bytes}: write {smallest} or more"
        )
