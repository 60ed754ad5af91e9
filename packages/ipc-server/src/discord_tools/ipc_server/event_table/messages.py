"""Events of messages, reactions and polls."""

from __future__ import annotations

from typing import Final

from discord_tools.ipc_server.event_table.spec import EventSpec, ids, spec

__all__ = ("ROWS",)

_MESSAGES: Final = "guild_messages|dm_messages"
_REACTIONS: Final = "guild_reactions|dm_reactions"
_POLLS: Final = "guild_polls|dm_polls"
_MESSAGE: Final = (
    "guild=message.guild.id channel=message.channel.id user=message.author.id message=message.id"
)
_EDITED: Final = "guild=after.guild.id channel=after.channel.id user=after.author.id message=after.id"
_REACTED: Final = (
    "guild=reaction.message.guild.id channel=reaction.message.channel.id message=reaction.message.id"
)
_VOTED: Final = (
    "guild=answer.poll.message.guild.id channel=answer.poll.message.channel.id user=user.id "
    "message=answer.poll.message.id"
)
_RAW: Final = "guild=payload.guild_id channel=payload.channel_id"
_RAW_MESSAGE: Final = f"{_RAW} message=payload.message_id"
_RAW_MESSAGE_FORM: Final = {
    "id": ids("payload.message_id"),
    "channel_id": ids("payload.channel_id"),
    "guild_id": ids("payload.guild_id"),
}
_RAW_REACTION_FORM: Final = {
    "user_id": ids("payload.user_id"),
    "channel_id": ids("payload.channel_id"),
    "message_id": ids("payload.message_id"),
    "guild_id": ids("payload.guild_id"),
    "member": "payload.member",
    "emoji": "payload.emoji",
    "message_author_id": ids("payload.message_author_id"),
    "burst": "payload.burst",
    "type": "payload.type.value",
}
_RAW_CLEAR_FORM: Final = {
    "channel_id": ids("payload.channel_id"),
    "message_id": ids("payload.message_id"),
    "guild_id": ids("payload.guild_id"),
}
_RAW_VOTE_FORM: Final = {
    "user_id": ids("payload.user_id"),
    "channel_id": ids("payload.channel_id"),
    "message_id": ids("payload.message_id"),
    "guild_id": ids("payload.guild_id"),
    "answer_id": "payload.answer_id",
}
_VOTE_FORM: Final = {
    "user": "user",
    "answer": "answer",
    "message_id": ids("answer.poll.message.id"),
    "channel_id": ids("answer.poll.message.channel.id"),
    "guild_id": ids("answer.poll.message.guild.id"),
}

#: Rows of the table.
ROWS: Final[tuple[EventSpec, ...]] = (
    # -- messages
    spec("message", "message: Message", "messages", _MESSAGES, _MESSAGE),
    spec("message_edit", "before: Message, after: Message", "messages", _MESSAGES, _EDITED),
    spec("message_delete", "message: Message", "messages", _MESSAGES, _MESSAGE),
    spec(
        "bulk_message_delete",
        "messages: list[Message]",
        "messages",
        _MESSAGES,
        "guild=messages.*.guild.id channel=messages.*.channel.id user=messages.*.author.id message=messages.*.id",
    ),
    spec(
        "raw_message_edit",
        "payload: RawMessageUpdateEvent",
        "messages moderation",
        _MESSAGES,
        f"{_RAW_MESSAGE} user=payload.message.author.id",
        form={
            **_RAW_MESSAGE_FORM,
            "message": "payload.message",
            "cached_message": "payload.cached_message",
        },
    ),
    spec(
        "raw_message_delete",
        "payload: RawMessageDeleteEvent",
        "messages moderation",
        _MESSAGES,
        f"{_RAW_MESSAGE} user=payload.cached_message.author.id",
        form={**_RAW_MESSAGE_FORM, "cached_message": "payload.cached_message"},
    ),
    spec(
        "raw_bulk_message_delete",
        "payload: RawBulkMessageDeleteEvent",
        "messages moderation",
        _MESSAGES,
        f"{_RAW} user=payload.cached_messages.*.author.id message=payload.message_ids",
        form={
            "ids": ids("payload.message_ids"),
            "channel_id": ids("payload.channel_id"),
            "guild_id": ids("payload.guild_id"),
            "cached_messages": "payload.cached_messages",
        },
    ),
    # -- reactions
    spec(
        "reaction_add",
        "reaction: Reaction, user: Member | User",
        "reactions",
        _REACTIONS,
        f"{_REACTED} user=user.id",
    ),
    spec(
        "reaction_remove",
        "reaction: Reaction, user: Member | User",
        "reactions",
        _REACTIONS,
        f"{_REACTED} user=user.id",
    ),
    spec("reaction_clear", "message: Message, reactions: list[Reaction]", "reactions", _REACTIONS, _MESSAGE),
    spec("reaction_clear_emoji", "reaction: Reaction", "reactions", _REACTIONS, _REACTED),
    spec(
        "raw_reaction_add",
        "payload: RawReactionActionEvent",
        "reactions",
        _REACTIONS,
        f"{_RAW_MESSAGE} user=payload.user_id",
        form=_RAW_REACTION_FORM,
    ),
    spec(
        "raw_reaction_remove",
        "payload: RawReactionActionEvent",
        "reactions",
        _REACTIONS,
        f"{_RAW_MESSAGE} user=payload.user_id",
        form=_RAW_REACTION_FORM,
    ),
    spec(
        "raw_reaction_clear",
        "payload: RawReactionClearEvent",
        "reactions moderation",
        _REACTIONS,
        _RAW_MESSAGE,
        form=_RAW_CLEAR_FORM,
    ),
    spec(
        "raw_reaction_clear_emoji",
        "payload: RawReactionClearEmojiEvent",
        "reactions moderation",
        _REACTIONS,
        _RAW_MESSAGE,
        form={**_RAW_CLEAR_FORM, "emoji": "payload.emoji"},
    ),
    # -- polls
    spec(
        "poll_vote_add", "user: Member | User, answer: PollAnswer", "polls", _POLLS, _VOTED, form=_VOTE_FORM
    ),
    spec(
        "poll_vote_remove",
        "user: Member | User, answer: PollAnswer",
        "polls",
        _POLLS,
        _VOTED,
        form=_VOTE_FORM,
    ),
    spec(
        "raw_poll_vote_add",
        "payload: RawPollVoteActionEvent",
        "polls",
        _POLLS,
        f"{_RAW_MESSAGE} user=payload.user_id",
        form=_RAW_VOTE_FORM,
    ),
    spec(
        "raw_poll_vote_remove",
        "payload: RawPollVoteActionEvent",
        "polls",
        _POLLS,
        f"{_RAW_MESSAGE} user=payload.user_id",
        form=_RAW_VOTE_FORM,
    ),
)
