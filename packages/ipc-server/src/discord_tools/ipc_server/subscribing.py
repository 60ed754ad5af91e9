"""Begins subscriptions. Those of acting users are judged first."""

from __future__ import annotations

import asyncio
from functools import partial

from discord_tools.ipc.errors import RemoteError
from discord_tools.ipc.refusals import ActingUserRequired
from discord_tools.ipc_server.audience import Audience
from discord_tools.ipc_server.event_bounds import Share, checked_size
from discord_tools.ipc_server.incoming import NativeCall
from discord_tools.ipc_server.shared import Shared

__all__ = ("subscribe",)


def subscribe(call: NativeCall, shared: Shared, share: Share) -> None:
    """Begins a subscription, or answers its call with an error. ``share`` has those of the same client."""
    if call.acting is not None or call.caller.names_users:
        call.subscribes = True
        judging = _judge(call, shared, share)
        call.task = asyncio.get_running_loop().create_task(judging, name="ipc judges a subscription")
        return
    # No task: items are pushed by the publisher of an event, and by the credit that the reader grants.
    try:
        _begin(call, shared, share, None)
    except RemoteError as error:
        call.refuse(error)
    shared.dispatcher.subscribed(call)


async def _judge(call: NativeCall, shared: Shared, share: Share) -> None:
    judge, failed = shared.dispatcher.judge, partial(shared.dispatcher.failures.judging, call)
    try:
        await judge.identify(call)
        if call.acting is None or call.acting.id is None:
            raise ActingUserRequired("this subscription needs an acting user")
        checked_size(call.params)
        audience = Audience(judge, call.acting.id, shared.hub.demands, failed)
        await audience.admit(call.params)
        _begin(call, shared, share, audience)
    except RemoteError as error:
        call.refuse(error)
    except Exception as error:
        call.refuse(failed(error))
    finally:
        call.task = None
        shared.dispatcher.subscribed(call)


def _begin(call: NativeCall, shared: Shared, share: Share, audience: Audience | None) -> None:
    call.subscriber = shared.hub.subscribe(call, share, call.caller)
    call.subscriber.audience = audience
    call.subscriber.begin()
