"""Tables of messages and of what is in them.

Paths that begin with an underscore are discord.py's own attributes, where it has no public one.
"""

from __future__ import annotations

from typing import Any, Final

from discord_tools.ipc_server.forks import discord
from discord_tools.ipc_server.values.activities import OBJECT
from discord_tools.ipc_server.values.components import COMPONENTS
from discord_tools.ipc_server.values.emojis import EMOJI, emoji_of
from discord_tools.ipc_server.values.kinds import (
    BYTES,
    SNOWFLAKE,
    boolean,
    enum,
    extra,
    flags,
    integer,
    json,
    made,
    many,
    nested,
    number,
    of,
    one_of,
    snowflake,
    text,
    timestamp,
)
from discord_tools.ipc_server.values.table import Field, Table
from discord_tools.ipc_server.values.users import MENTIONED, PARTIAL_MEMBER, PERSON, member_of

__all__ = ("TABLES",)


def _referenced(message: Any) -> Any:
    """The message that a message refers to, or ``None`` where there is none or it was deleted."""
    reference = message.reference
    resolved = None if reference is None else reference.resolved
    return resolved if isinstance(resolved, discord.Message) else None


def _author_member(message: Any) -> Any:
    return member_of(message.author)


def _snapshots(message: Any) -> list[dict[str, Any]] | None:
    """Discord puts each snapshot into an object of its own."""
    return [{"message": each} for each in message.message_snapshots] or None


def _ids(things: Any) -> list[str]:
    return [str(thing.id) for thing in things]


def _count_details(reaction: Any) -> dict[str, int]:
    return {"burst": reaction.burst_count, "normal": reaction.normal_count}


def _results(poll: Any) -> dict[str, Any]:
    counts = [
        {"id": str(answer.id), "count": answer.vote_count, "me_voted": answer.self_voted}
        for answer in poll.answers
    ]
    return {"is_finalized": poll.is_finalised(), "answer_counts": counts}


def _allowed(mentions: Any) -> dict[str, Any]:
    """The same as ``to_dict()``, with ids as strings as in the rest of Discord."""
    given = mentions.to_dict()
    ids = {name: [str(each) for each in given[name]] for name in ("users", "roles") if name in given}
    return {**given, **ids}


def _owners(interaction: Any) -> dict[str, str]:
    return {str(kind): str(owner) for kind, owner in interaction._integration_owners.items()}


_WHERE: Final = (
    snowflake("id"),
    snowflake("channel_id", "channel.id"),
    snowflake("guild_id", "guild?.id"),
)
_CONTENT: Final = (
    text("content"),
    enum("type"),
    many(nested(discord.Attachment, "attachments")),
    many(nested(discord.Embed, "embeds")),
    flags("flags"),
    many(nested(discord.StickerItem, "sticker_items", "stickers")),
    # discord.py only sets these if Discord sends them, which it does not for all messages.
    many(one_of(COMPONENTS, "components", "components?", omit=True)),
)
_REACTION: Final = (
    made(emoji_of, EMOJI, "emoji", "emoji"),
    integer("count"),
    boolean("me"),
    boolean("me_burst"),
    made(_count_details, OBJECT, "count_details"),
)
#: The reaction of a message, which is known there.
_OF_A_MESSAGE: Final = Table(discord.Reaction, *_REACTION, types=("message.Reaction",))

_MESSAGE: Final[tuple[Field, ...]] = (
    *_WHERE,
    nested(PERSON, "author"),
    of(nested(PARTIAL_MEMBER, "member", omit=True), _author_member),
    *_CONTENT,
    timestamp("timestamp", "created_at"),
    timestamp("edited_timestamp", "edited_at"),
    boolean("tts"),
    boolean("pinned"),
    boolean("mention_everyone"),
    many(nested(MENTIONED, "mentions", "mentions?", omit=True)),
    made(_ids, SNOWFLAKE._replace(many=True), "mention_roles", "role_mentions?", omit=True),
    many(nested(_OF_A_MESSAGE, "reactions")),
    json("nonce", omit=True),
    snowflake("webhook_id", omit=True),
    snowflake("application_id", omit=True),
    nested(discord.MessageApplication, "application", omit=True),
    json("activity", omit=True),
    nested(discord.MessageReference, "message_reference", "reference", omit=True),
    made(_snapshots, OBJECT._replace(many=True), "message_snapshots", omit=True),
    nested(discord.MessageInteraction, "interaction", "_interaction", omit=True),
    nested(discord.MessageInteractionMetadata, "interaction_metadata", omit=True),
    nested(discord.Poll, "poll", omit=True),
    nested(discord.Thread, "thread", omit=True),
    integer("position", omit=True),
    nested(discord.RoleSubscriptionInfo, "role_subscription_data", "role_subscription", omit=True),
    nested(discord.PurchaseNotification, "purchase_notification", omit=True),
    nested(discord.CallMessage, "call", omit=True),
    timestamp("pinned_at", omit=True, extra=True),
    extra(text("jump_url")),
)

#: A message inside of another one: Discord nests one.
_REFERENCED: Final = Table(discord.Message, *_MESSAGE, types=("message.Message",))

TABLES: Final = (
    Table(
        (
            discord.Message,
            discord.InteractionMessage,
            discord.WebhookMessage,
            discord.SyncWebhookMessage,
        ),
        *_MESSAGE,
        of(nested(_REFERENCED, "referenced_message", omit=True), _referenced),
        types=("message.Message",),
    ),
    Table(discord.PartialMessage, *_WHERE, extra(text("jump_url")), types=("message.PartialMessage",)),
    Table(
        discord.DeletedReferencedMessage,
        snowflake("id"),
        snowflake("channel_id"),
        snowflake("guild_id"),
        types=("message.PartialMessage",),
    ),
    Table(
        discord.MessageSnapshot,
        *_CONTENT,
        timestamp("timestamp", "created_at"),
        timestamp("edited_timestamp", "edited_at"),
        many(snowflake("mention_roles", "raw_role_mentions")),
        types=("message.MessageSnapshot",),
    ),
    Table(
        discord.MessageReference,
        enum("type"),
        snowflake("message_id"),
        snowflake("channel_id"),
        snowflake("guild_id"),
        boolean("fail_if_not_exists"),
        types=("message.MessageReference",),
    ),
    Table(
        discord.Reaction,
        snowflake("message_id", "message.id", extra=True),
        snowflake("channel_id", "message.channel.id", extra=True),
        snowflake("guild_id", "message.guild?.id", extra=True),
        *_REACTION,
        types=("message.Reaction",),
    ),
    Table(
        discord.Attachment,
        snowflake("id"),
        text("filename"),
        text("title", omit=True),
        text("description", omit=True),
        text("content_type", omit=True),
        integer("size"),
        text("url"),
        text("proxy_url"),
        integer("height"),
        integer("width"),
        boolean("ephemeral"),
        made(lambda attachment: attachment.is_spoiler(), boolean("").kind, "spoiler"),
        number("duration_secs", "duration", omit=True),
        Field("waveform", "waveform", BYTES, omit=True),
        integer("flags", "_flags"),
        types=("message.Attachment",),
    ),
    Table(
        discord.Embed,
        scalar=OBJECT._replace(code="call({})", function=discord.Embed.to_dict),
        types=("embed.Embed",),
    ),
    Table(
        discord.AllowedMentions,
        scalar=OBJECT._replace(code="call({})", function=_allowed),
        types=("message.AllowedMentions",),
    ),
    Table(
        discord.MessageApplication,
        snowflake("id"),
        text("name"),
        text("description"),
        text("icon", "_icon"),
        text("cover_image", "_cover_image"),
        types=("message.MessageApplication",),
    ),
    Table(
        discord.MessageInteraction,
        snowflake("id"),
        enum("type"),
        text("name"),
        nested(PERSON, "user"),
        nested(PARTIAL_MEMBER, "member", "user", omit=True)._replace(prepare=member_of),
        types=("interactions.MessageInteraction",),
    ),
    Table(
        discord.MessageInteractionMetadata,
        snowflake("id"),
        enum("type"),
        nested(discord.User, "user"),
        made(_owners, OBJECT, "authorizing_integration_owners"),
        snowflake("original_response_message_id", omit=True),
        snowflake("interacted_message_id", omit=True),
        # Discord nests one of these. As its own class, since a table cannot contain itself.
        one_of(
            (discord.MessageInteractionMetadata,),
            "triggering_interaction_metadata",
            "modal_interaction",
            omit=True,
        ),
        nested(discord.User, "target_user", omit=True),
        snowflake("target_message_id", omit=True),
        types=(
            "interactions.UserApplicationCommandMessageInteractionMetadata",
            "interactions.MessageComponentMessageInteractionMetadata",
        ),
    ),
    Table(
        discord.CallMessage,
        made(_ids, SNOWFLAKE._replace(many=True), "participants", "participants"),
        timestamp("ended_timestamp"),
        types=("message.CallMessage",),
    ),
    Table(
        discord.RoleSubscriptionInfo,
        snowflake("role_subscription_listing_id"),
        text("tier_name"),
        integer("total_months_subscribed"),
        boolean("is_renewal"),
        types=("message.RoleSubscriptionData",),
    ),
    Table(
        discord.PurchaseNotification,
        integer("type", "_type"),
        nested(discord.GuildProductPurchase, "guild_product_purchase"),
        types=("message.PurchaseNotificationResponse",),
    ),
    Table(
        discord.GuildProductPurchase,
        snowflake("listing_id"),
        text("product_name"),
        types=("message.GuildProductPurchase",),
    ),
    Table(
        discord.Poll,
        nested(discord.PollMedia, "question", "_question_media"),
        many(nested(discord.PollAnswer, "answers")),
        boolean("allow_multiselect", "multiple"),
        enum("layout_type"),
        timestamp("expiry", "expires_at"),
        made(_results, OBJECT, "results"),
        types=("poll.Poll",),
    ),
    Table(
        discord.PollAnswer,
        integer("answer_id", "id"),
        nested(discord.PollMedia, "poll_media", "media"),
        types=("poll.PollAnswerWithID",),
    ),
    Table(
        discord.PollMedia,
        text("text"),
        made(emoji_of, EMOJI, "emoji", "emoji", omit=True),
        types=("poll.PollMedia",),
    ),
)
