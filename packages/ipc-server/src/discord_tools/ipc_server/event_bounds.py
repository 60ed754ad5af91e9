"""Bounds of subscriptions: the size of their parameters, the values of their filters, and their places in the index."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, Final, Protocol, cast

from discord_tools.ipc.errors import BadData, Overloaded
from discord_tools.ipc_server.filters import Filter

__all__ = ("MAX_NAMES", "MAX_PLACES", "Share", "SubscriptionBounds", "checked_size")

#: Maximum size of the parameters of a subscription, in bytes: its names, and the values of its filter.
MAX_WISH_BYTES: Final = 64 * 1024

#: Maximum size of the parameters of all subscriptions together, in bytes.
MAX_ALL_WISHES_BYTES: Final = 16 * 1024 * 1024

#: Maximum number of places that a subscription takes in the index: its names times the values that it is indexed by.
#: With more, it is compared with each event of its names.
MAX_PLACES: Final = 512

#: Maximum number of places that all subscriptions of one client take in the index. Further ones are compared.
MAX_CLIENT_PLACES: Final = 16384

#: Maximum number of places that all subscriptions take in the index. Further ones are compared.
MAX_ALL_PLACES: Final = 131072

#: Maximum number of values that the filters of all subscriptions of one client have.
MAX_CLIENT_VALUES: Final = 16384

#: Maximum number of values that the filters of all subscriptions have.
MAX_ALL_VALUES: Final = 262144

#: Maximum number of different paths in the data that the filters of all subscriptions ask for. Each is looked up once
#: in an event whose subscribers ask for it.
MAX_PATHS: Final = 256


def checked_size(params: bytes) -> int:
    """The size of the parameters of a subscription, in bytes.

    Raises
    ------
    BadData
        They are too large.
    """
    size = len(params)
    if size > MAX_WISH_BYTES:
        raise BadData(f"the parameters of a subscription have at most {MAX_WISH_BYTES} bytes, not {size}")
    return size


#: Maximum number of names of events in all subscriptions of one client.
MAX_NAMES: Final = 8192


class CountedSubscription(Protocol):
    """What a subscription takes of its client's share. Implemented by :class:`~.events.Subscriber`."""

    @property
    def values(self) -> int:
        """Number of values of its filter."""
        ...

    @property
    def places(self) -> int:
        """Number of places in the index."""
        ...

    @property
    def names(self) -> int:
        """Number of names of events."""
        ...


class Share:
    """What the subscriptions of one client take."""

    def __init__(self) -> None:
        #: Number of values of their filters.
        self._values = 0
        #: Number of places in the index.
        self._places = 0
        #: Number of names of events.
        self._names = 0

    @property
    def places_left(self) -> int:
        """:class:`int`: Number of places that further subscriptions may take."""
        return MAX_CLIENT_PLACES - self._places

    def add(self, one: CountedSubscription) -> None:
        """Counts a subscription."""
        self._count(one, 1)

    def remove(self, one: CountedSubscription) -> None:
        """Counts a subscription no more."""
        self._count(one, -1)

    def _count(self, one: CountedSubscription, factor: int) -> None:
        self._values += factor * one.values
        self._places += factor * one.places
        self._names += factor * one.names

    def check(self, names: int, wanted: Mapping[str, Any]) -> None:
        """Checks the numbers of names and of values of one more subscription, before anything is made of it.

        Raises
        ------
        Overloaded
            They are too many.
        """
        if self._names + names > MAX_NAMES:
            raise Overloaded(
                f"your subscriptions would have {self._names + names} names, more than {MAX_NAMES}"
            )
        number = sum(
            len(cast("list[Any]", value)) if isinstance(value, list) else 1 for value in wanted.values()
        )
        if self._values + number > MAX_CLIENT_VALUES:
            raise Overloaded(f"your filters have {self._values} values already")


class SubscriptionBounds:
    """Counts what all subscriptions together have."""

    def __init__(self) -> None:
        #: Size of their parameters, in bytes.
        self._size = 0
        #: Number of places in the index.
        self._places = 0
        #: Number of values of their filters.
        self._values = 0
        #: Paths in the data that their filters ask for, with the number of filters.
        self._paths: Counter[str] = Counter()

    def check(self, size: int, wanted: Filter | None) -> None:
        """Checks whether one more subscription may be made.

        Raises
        ------
        Overloaded
            It may not.
        """
        if self._size + size > MAX_ALL_WISHES_BYTES:
            raise Overloaded(f"all subscriptions together have {self._size} bytes of parameters already")
        if wanted is None:
            return
        if self._values + wanted.number > MAX_ALL_VALUES:
            raise Overloaded(f"filters of all subscriptions have {self._values} values already")
        if len(self._paths.keys() | wanted.data_paths) > MAX_PATHS:
            raise Overloaded(f"filters ask for {len(self._paths)} different members of data already")

    def places(self, names: int, wanted: Filter | None, allowed: int) -> int | None:
        """Number of places in the index that a subscription takes. ``None`` if it needs more than it may take."""
        needed = 0 if wanted is None else names * len(wanted.wanted)
        return needed if needed <= min(allowed, MAX_PLACES, MAX_ALL_PLACES - self._places) else None

    def add(self, size: int, wanted: Filter | None, places: int) -> None:
        """Counts a subscription."""
        self._size += size
        self._places += places
        if wanted is not None:
            self._values += wanted.number
            self._paths.update(wanted.data_paths)

    def remove(self, size: int, wanted: Filter | None, places: int) -> None:
        """Counts a subscription no more."""
        self._size -= size
        self._places -= places
        if wanted is not None:
            self._values -= wanted.number
            for path in wanted.data_paths:
                self._paths[path] -= 1
                if not self._paths[path]:
                    del self._paths[path]
