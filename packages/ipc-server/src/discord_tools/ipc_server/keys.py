"""Keys: their values, scopes and expiry, and all keys of a server, which may change while it runs."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import secrets
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, MutableMapping
from dataclasses import replace
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import Any, Final, NamedTuple, cast

from discord_tools.ipc.missing import MISSING
from discord_tools.ipc.settings import MAX_KEY_BYTES, checked_value
from discord_tools.ipc_server.access import checked_name, checked_scopes
from discord_tools.ipc_server.caller import NATIVE, Caller

__all__ = ("BEARER", "IN_PROCESS", "REVOKED", "SECRET_KEY", "Key", "Keys")

log = logging.getLogger(__name__)

#: The name of the key that the server was given as ``secret_key``.
SECRET_KEY: Final = "secret_key"

#: The credential of callers in the same process, which show no key.
IN_PROCESS: Final = b"in process"

#: Maximum number of seconds between checks whether a key has expired. The system's clock may be set, and goes on while
#: the machine sleeps, unlike the event loop's.
EXPIRY_CHECK_INTERVAL: Final = 60.0

#: What clients are answered whose key is not accepted any more.
REVOKED: Final = "the key was revoked or has expired"

#: What may precede a key in a header.
BEARER: Final = "Bearer "


def now() -> datetime:
    """The time that expiry is compared with."""
    return datetime.now(UTC)


class Key:
    """A secret key of a server, for :attr:`Server.keys`. It cannot be changed: set another one in its place.

    .. versionadded:: 1.2

    .. container:: operations

        .. describe:: x == y

            Checks whether two keys have the same values and the same settings.

        .. describe:: hash(x)

            Returns the hash of the key.

    Parameters
    ----------
    *values: :class:`str`
        What clients may show, as ``secret_key``. Several values are for rotation: add the new one, change it in the
        clients, and remove the old one.
    scopes: Optional[Collection[:class:`str`]]
        What the key opens: routes and events that name one of these scopes. Defaults to ``None``, everything. An empty
        collection opens nothing.
    expires: Optional[:class:`datetime.datetime`]
        Until when the key is accepted: an aware datetime, such as ``discord.utils.utcnow() + timedelta(days=90)``.
        Defaults to ``None``, without end.
    verified_users_only: :class:`bool`
        Whether each call needs ``acting_as(token=...)``, so that a client with the key can act only for users whose
        access token Discord gave it; see :meth:`ClientSession.acting_as`. Other calls and subscriptions raise
        :exc:`ActingUserRequired`; only :meth:`ClientSession.events` works without. Defaults to ``False``.

    Raises
    ------
    TypeError
        A value is no string, ``scopes`` is one string or no collection of strings, ``expires`` is no datetime, or
        ``verified_users_only`` is no bool.
    ValueError
        There is no value, a value is empty, ``None``, there twice, or cannot be carried by an HTTP header, a scope has
        no usable name, or ``expires`` has no time zone.
    """

    __slots__ = ("_expires", "_scopes", "_values", "_verified_users_only")

    def __init__(
        self,
        *values: str,
        scopes: Collection[str] | None = None,
        expires: datetime | None = None,
        verified_users_only: bool = False,
    ) -> None:
        if not values:
            raise ValueError("Key() needs a value, which clients show as their secret_key")
        #: The values. They are in no text that is made of a key.
        self._values = tuple(_checked_value(one) for one in values)
        if len({_bare(one) for one in values}) < len(values):
            raise ValueError("two values of Key() are the same, or differ only in 'Bearer ' before them")
        self._scopes = checked_scopes(scopes, "Key()")
        self._expires = _checked_expiry(expires)
        if not isinstance(verified_users_only, bool):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"Key(): verified_users_only must be a bool, not {verified_users_only!r:.100}")
        self._verified_users_only = verified_users_only

    @property
    def scopes(self) -> frozenset[str] | None:
        """Optional[frozenset[:class:`str`]]: What the key opens. ``None`` for everything."""
        return self._scopes

    @property
    def expires(self) -> datetime | None:
        """Optional[:class:`datetime.datetime`]: Until when the key is accepted, or ``None``."""
        return self._expires

    @property
    def verified_users_only(self) -> bool:
        """:class:`bool`: Whether each call needs an acting user that the bot verifies."""
        return self._verified_users_only

    def is_expired(self) -> bool:
        """:class:`bool`: Returns whether the key is not accepted any more."""
        return self._expires is not None and self._expires <= now()

    @property
    def values(self) -> tuple[str, ...]:
        """The values.

        :meta private:
        """
        return self._values

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Key):
            return NotImplemented
        return self._facts == other._facts

    def __hash__(self) -> int:
        return hash(self._facts)

    @property
    def _facts(self) -> tuple[Any, ...]:
        return self._values, self._scopes, self._expires, self._verified_users_only

    def __repr__(self) -> str:
        scopes = None if self._scopes is None else sorted(self._scopes)
        expires = None if self._expires is None else self._expires.isoformat()
        verified = " verified_users_only=True" if self._verified_users_only else ""
        return f"<Key values={len(self._values)} scopes={scopes} expires={expires}{verified}>"


class Accepted(NamedTuple):
    """A value that is accepted: the name of its key, and the key."""

    name: str
    key: Key


class Keys(MutableMapping[str, Key]):
    """The keys of a server by their names. Changes take effect at once.

    Parameters
    ----------
    secret_key: Optional[:class:`str`]
        The key that has no scopes and cannot be changed. It is not among the items.
    keys: Mapping[:class:`str`, :class:`Key`]
        The other ones, as users give them. Missing where there are none.
    changed: Callable[[], None]
        Called when a key was changed, removed or has expired, so that callers are compared with the keys again.
    """

    def __init__(
        self,
        secret_key: str | None = None,
        keys: Mapping[str, Key] = MISSING,
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        #: Whether everybody is accepted, because there never was a key. Removing the last one does not open the bot.
        self.is_open: bool = secret_key is None and keys is MISSING
        self._secret_key = None if secret_key is None else Key(secret_key)
        self._changed = changed
        #: Digests of different keys have nothing to do with those of other servers.
        self._salt = secrets.token_bytes(32)
        #: The keys by their names.
        self._keys: dict[str, Key] = {} if keys is MISSING else _checked_keys(keys)
        #: The key of each value, by the digest of that.
        self._accepted: dict[bytes, Accepted] = self._index(self._keys)
        #: Names of keys that have expired and were mentioned in the log.
        self._expired: set[str] = set()
        #: Names of keys with their scopes that nothing names and that were warned of.
        self._warned: set[tuple[str, str]] = set()
        #: Checks whether a key has expired.
        self._timer: asyncio.TimerHandle | None = None
        #: The event loop of the timer, while the server runs.
        self._loop: asyncio.AbstractEventLoop | None = None

    # -- for users

    def __getitem__(self, name: str) -> Key:
        return self._keys[name]

    def __setitem__(self, name: str, key: Key) -> None:
        self._replace({**self._keys, **_checked_keys({name: key})})

    def __delitem__(self, name: str) -> None:
        left = self._keys.copy()
        del left[name]
        self._replace(left)

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)

    def __repr__(self) -> str:
        return f"<Keys {self._keys!r}>"

    # -- for the gate

    def enter(self, shown: Iterable[Any], address: str, dialect: str, connection: str) -> Caller | str | None:
        """Returns the caller who has shown a key, in one of these forms.

        Returns the name of the key instead where that has expired, and ``None`` where there is no such key. All keys
        are compared always, so that the time tells neither which one was near nor how much of it was right.
        """
        if self.is_open:
            return Caller(None, address, dialect, connection)
        digests = [self._digest(one) for one in shown]
        found: bytes | None = None
        for digest in self._accepted:
            for one in digests:
                if hmac.compare_digest(digest, one):
                    found = digest
        if found is None:
            return None
        name, key = self._accepted[found]
        if key.is_expired():
            return name
        verified = key.verified_users_only
        return Caller(name, address, dialect, connection, key.scopes, key.expires, verified, credential=found)

    @property
    def accepted(self) -> tuple[bytes, ...]:
        """All values that are accepted now, for proofs that a client knows one of them."""
        keys = [] if self._secret_key is None else [self._secret_key]
        keys += [key for key in self._keys.values() if not key.is_expired()]
        return tuple(value.encode() for key in keys for value in key.values)

    def renewed(self, caller: Caller) -> Caller | None:
        """Returns the caller with what its key opens now, or ``None`` if the value that it showed is not accepted any
        more.
        """
        if caller.credential == IN_PROCESS or (caller.credential is None and self.is_open):
            return caller
        accepted = self._accepted.get(caller.credential or b"")
        if accepted is None or accepted.name != caller.key or accepted.key.is_expired():
            return None
        key = accepted.key
        scopes = key.scopes
        if caller.granted is not None:
            scopes = caller.granted if scopes is None else scopes & caller.granted
        renewed = replace(
            caller, scopes=scopes, expires=key.expires, verified_users_only=key.verified_users_only
        )
        return caller if renewed == caller else renewed

    def in_process(self, connection: str) -> Caller:
        """Returns the caller of a connection in this process, which may use everything."""
        name = None if self._secret_key is None else SECRET_KEY
        return Caller(name, "memory", NATIVE, connection, credential=IN_PROCESS)

    def check_scopes(self, named: Collection[str]) -> None:
        """Warns about scopes of keys that are not among those which routes and events name, once of each."""
        for name, key in self._keys.items():
            for scope in sorted(key.scopes or ()):
                if scope not in named and (name, scope) not in self._warned:
                    self._warned.add((name, scope))
                    similar = get_close_matches(scope, named, 1)
                    hint = f": did you mean {similar[0]!r}?" if similar else ""
                    log.warning("No route and no event names the scope %r of the key %s%s", scope, name, hint)
        self._warned = {(name, scope) for name, scope in self._warned if name in self._keys}

    # -- expiry

    def start(self) -> None:
        """Watches for keys that expire."""
        self._loop = asyncio.get_running_loop()
        if not self.is_open and not self._accepted:
            log.warning("There is no key yet: nobody can call the bot until one is set in Server.keys")
        self._watch()

    def stop(self) -> None:
        """Stops watching."""
        self._loop = None
        if self._timer is not None:
            self._timer.cancel()

    def _watch(self) -> None:
        """Takes note of keys that have expired, and looks again when the next one does."""
        if self._timer is not None:
            self._timer.cancel()
        if self._loop is None:
            return
        expired = {name for name, key in self._keys.items() if key.is_expired()}
        for name in sorted(expired - self._expired):
            log.warning("The key %s has expired", name)
        self._expired = expired
        ends = [key.expires for name, key in self._keys.items() if name not in expired and key.expires]
        if ends:
            seconds = min((min(ends) - now()).total_seconds(), EXPIRY_CHECK_INTERVAL)
            self._timer = self._loop.call_later(max(seconds, 0), self._check_expiry)

    def _check_expiry(self) -> None:
        before = self._expired
        self._watch()
        if self._expired != before:
            self._changed()

    # -- inside

    def _replace(self, keys: dict[str, Key]) -> None:
        accepted = self._index(keys)
        for name, key in self._keys.items():
            if name not in keys:
                log.info("The key %s was revoked", name)
            elif left := len({*key.values} - {*keys[name].values}):
                log.info("%d of %d values of the key %s were revoked", left, len(key.values), name)
        self.is_open = False
        self._keys, self._accepted = keys, accepted
        self._watch()
        self._changed()

    def _index(self, keys: Mapping[str, Key]) -> dict[bytes, Accepted]:
        """Finds the key of each value. Raises :exc:`ValueError` where two keys have the same value."""
        index: dict[bytes, Accepted] = {}
        names: dict[str, str] = {}
        plain = {} if self._secret_key is None else {SECRET_KEY: self._secret_key}
        for name, key in {**plain, **keys}.items():
            for value, digest in zip(key.values, self._digests(key), strict=True):
                other = names.setdefault(_bare(value), name)
                if other != name:
                    raise ValueError(
                        f"the keys {other!r} and {name!r} have the same value, or differ only in 'Bearer ' before it"
                    )
                index[digest] = Accepted(name, key)
        return index

    def _digests(self, key: Key) -> list[bytes]:
        return [self._digest(value) for value in key.values]

    def _digest(self, shown: Any) -> bytes:
        # Of the same length for all, since a comparison takes as long as the shorter text. No key is longer than this.
        text = shown if isinstance(shown, str) and len(shown) <= MAX_KEY_BYTES else ""
        return hashlib.blake2b(text.encode(errors="surrogatepass"), key=self._salt, digest_size=32).digest()


def _checked_value(value: Any) -> str:
    if isinstance(value, list | tuple | set | frozenset):
        raise TypeError("a value of Key() must be a str: give several as Key(first, second)")
    return checked_value(value, "a value of Key()")


def _checked_expiry(expires: Any) -> datetime | None:
    if expires is None:
        return None
    if not isinstance(expires, datetime):
        raise TypeError(
            "Key(): expires must be a datetime, such as discord.utils.utcnow() + timedelta(days=90), not "
            f"{expires!r:.100}"
        )
    if expires.utcoffset() is None:
        raise ValueError(
            f"Key(): expires has no time zone: write datetime(..., tzinfo=timezone.utc), or {expires}.astimezone() for "
            "local time"
        )
    return expires


def _bare(value: str) -> str:
    """A value as it is compared where a header has it after ``Bearer``."""
    while value.startswith(BEARER):
        value = value.removeprefix(BEARER)
    return value


def _checked_keys(keys: Any) -> dict[str, Key]:
    """Returns keys by their names.

    Raises
    ------
    TypeError
        It is no mapping of names to keys. What stands in place of a key may be its value, so no error quotes it.
    ValueError
        A name cannot be used.
    """
    if keys is None:
        raise ValueError("keys is None: leave it out to run without keys, or write {} to add them later")
    if not isinstance(keys, Mapping):
        raise TypeError(f"keys must be a dict of names and Key objects, not {type(keys).__name__}")
    for name, key in cast("Mapping[Any, Any]", keys).items():
        checked_name(name, "the name of a key")
        if name == SECRET_KEY:
            raise ValueError(
                f"the name {SECRET_KEY!r} is that of the parameter secret_key: choose another one"
            )
        if not isinstance(key, Key):
            raise TypeError(
                f"keys[{name!r}] must be a Key, not {type(key).__name__}: write Key(...) around it"
            )
    return dict(cast("Mapping[str, Key]", keys))
