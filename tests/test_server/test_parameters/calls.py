"""The data of one call, bound to the parameters of a function."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import discord
import pytest

from discord_tools.ipc import BadData, Request
from discord_tools.ipc_server.parameters.binding import Source
from discord_tools.ipc_server.signature import Signature


def signature_for(annotation: Any, **others: Any) -> Signature:
    """The signature of a route with a parameter ``it``, and others."""

    names = {**others, "it": annotation}
    parameters = ", ".join(names)
    namespace: dict[str, Any] = {"__name__": __name__}
    exec(f"async def callback(request, {parameters}): ...", namespace)
    callback = namespace["callback"]
    callback.__annotations__ = names
    return Signature(callback, bound=False, namespace={})


def source_of(client: discord.Client | Source | None) -> Source:
    if isinstance(client, Source):
        return client
    return Source(discord.Client(intents=discord.Intents.none()) if client is None else client)


def request_with(data: Mapping[str, Any]) -> Request:
    return Request(data, None, "/test", {}, None)  # pyright: ignore[reportArgumentType]


def bind(callback: Any, client: discord.Client | Source | None = None, /, **data: Any) -> dict[str, Any]:
    """Binds data without waiting."""
    signature = (
        callback if isinstance(callback, Signature) else Signature(callback, bound=False, namespace={})
    )
    bound = signature.bind(json.dumps(data).encode(), source_of(client), request_with(data))
    assert isinstance(bound, dict), "nothing has to be waited for"
    return bound


async def bind_later(
    callback: Any, client: discord.Client | Source | None = None, /, **data: Any
) -> dict[str, Any]:
    """Binds data that has something to be waited for."""
    signature = (
        callback if isinstance(callback, Signature) else Signature(callback, bound=False, namespace={})
    )
    bound = signature.bind(json.dumps(data).encode(), source_of(client), request_with(data))
    assert not isinstance(bound, dict), "something has to be waited for"
    return await bound


def value(annotation: Any, given: Any, client: discord.Client | None = None) -> Any:
    """What a parameter of that annotation gets."""
    return bind(signature_for(annotation), client, it=given)["it"]


def errors(
    callback: Any,
    client: discord.Client | Source | None = None,
    /,
    kind: type[BadData] | None = None,
    **data: Any,
) -> dict[str, str]:
    """The faults that are found without waiting, by their place."""
    with pytest.raises(BadData) as caught:
        bind(callback, client, **data)
    assert kind is None or type(caught.value) is kind
    return {error["path"]: error["message"] for error in caught.value.errors}


def fault(annotation: Any, given: Any, client: discord.Client | None = None) -> str:
    """The only fault of a value."""
    (message,) = errors(signature_for(annotation), client, it=given).values()
    return message
