"""Events of guilds: roles, emojis, channels and threads."""

from __future__ import annotations

from typing import Final

from discord_tools.ipc_server.event_table.spec import EventSpec, ids, spec

__all__ = ("ROWS",)

_EXPRESSIONS: Final = "emojis_and_stickers"
_THREAD: Final = "guild=thread.guild.id channel=thread.id channel=thread.parent_id user=thread.owner_id"
_RAW_THREAD: Final = "guild=payload.guild_id channel=payload.thread_id channel=payload.parent_id"
_RAW_THREAD_FORM: Final = {
    "id": ids("payload.thread_id"),
    "guild_id": ids("payload.guild_id"),
    "parent_id": ids("payload.parent_id"),
    "type": "payload.thread_type.value",
    "thread": "payload.thread",
}

#: Rows of the table.
ROWS: Final[tuple[EventSpec, ...]] = (
    # -- guilds
    spec("guild_join", "guild: Guild", "guilds", "guilds", "guild=guild.id"),
    spec("guild_remove", "guild: Guild", "guilds", "guilds", "guild=guild.id"),
    spec("guild_update", "before: Guild, after: Guild", "guilds", "guilds", "guild=after.id"),
    spec("guild_available", "guild: Guild", "guilds", "guilds", "guild=guild.id"),
    spec("guild_unavailable", "guild: Guild", "guilds", "guilds", "guild=guild.id"),
    spec("guild_role_create", "role: Role", "roles", "guilds", "guild=role.guild.id"),
    spec("guild_role_update", "before: Role, after: Role", "roles", "guilds", "guild=after.guild.id"),
    spec("guild_role_delete", "role: Role", "roles", "guilds", "guild=role.guild.id"),
    spec(
        "guild_emojis_update",
        "guild: Guild, before: list[Emoji], after: list[Emoji]",
        "expressions",
        _EXPRESSIONS,
        "guild=guild.id",
    ),
    spec(
        "guild_stickers_update",
        "guild: Guild, before: list[GuildSticker], after: list[GuildSticker]",
        "expressions",
        _EXPRESSIONS,
        "guild=guild.id",
    ),
    spec(
        "soundboard_sound_create",
        "sound: SoundboardSound",
        "expressions",
        _EXPRESSIONS,
        "guild=sound.guild.id user=sound.user.id",
    ),
    spec(
        "soundboard_sound_update",
        "before: SoundboardSound, after: SoundboardSound",
        "expressions",
        _EXPRESSIONS,
        "guild=after.guild.id user=after.user.id",
    ),
    spec(
        "soundboard_sound_delete",
        "sound: SoundboardSound",
        "expressions",
        _EXPRESSIONS,
        "guild=sound.guild.id user=sound.user.id",
    ),
    # -- channels and threads
    spec(
        "guild_channel_create",
        "channel: GuildChannel",
        "channels",
        "guilds",
        "guild=channel.guild.id channel=channel.id",
    ),
    spec(
        "guild_channel_update",
        "before: GuildChannel, after: GuildChannel",
        "channels",
        "guilds",
        "guild=after.guild.id channel=after.id",
    ),
    spec(
        "guild_channel_delete",
        "channel: GuildChannel",
        "channels",
        "guilds",
        "guild=channel.guild.id channel=channel.id",
    ),
    spec(
        "guild_channel_pins_update",
        "channel: GuildChannel | Thread, last_pin: datetime | None",
        "channels",
        "guilds",
        "guild=channel.guild.id channel=channel.id",
    ),
    spec(
        "private_channel_update",
        "before: GroupChannel, after: GroupChannel",
        "channels",
        "",
        "channel=after.id",
    ),
    spec(
        "private_channel_pins_update",
        "channel: PrivateChannel, last_pin: datetime | None",
        "channels",
        "",
        "channel=channel.id",
    ),
    spec(
        "webhooks_update",
        "channel: GuildChannel",
        "integrations",
        "webhooks",
        "guild=channel.guild.id channel=channel.id",
    ),
    spec("thread_create", "thread: Thread", "threads", "guilds", _THREAD),
    spec("thread_join", "thread: Thread", "threads", "guilds", _THREAD),
    spec("thread_remove", "thread: Thread", "threads", "guilds", _THREAD),
    spec("thread_delete", "thread: Thread", "threads", "guilds", _THREAD),
    spec(
        "thread_update",
        "before: Thread, after: Thread",
        "threads",
        "guilds",
        "guild=after.guild.id channel=after.id channel=after.parent_id user=after.owner_id",
    ),
    spec(
        "thread_member_join",
        "member: ThreadMember",
        "threads",
        "guilds members",
        "guild=member.thread.guild.id channel=member.thread.id channel=member.thread.parent_id user=member.id",
    ),
    spec(
        "thread_member_remove",
        "member: ThreadMember",
        "threads",
        "guilds members",
        "guild=member.thread.guild.id channel=member.thread.id channel=member.thread.parent_id user=member.id",
    ),
    spec(
        "raw_thread_update",
        "payload: RawThreadUpdateEvent",
        "threads",
        "guilds",
        f"{_RAW_THREAD} user=payload.data.owner_id",
        form={**_RAW_THREAD_FORM, "data": "payload.data"},
    ),
    spec(
        "raw_thread_delete",
        "payload: RawThreadDeleteEvent",
        "threads",
        "guilds",
        f"{_RAW_THREAD} user=payload.thread.owner_id",
        form=_RAW_THREAD_FORM,
    ),
    spec(
        "raw_thread_member_remove",
        "payload: RawThreadMembersUpdate",
        "threads",
        "guilds members",
        "guild=payload.guild_id channel=payload.thread_id user=payload.data.removed_member_ids",
        form={
            "id": ids("payload.thread_id"),
            "guild_id": ids("payload.guild_id"),
            "member_count": "payload.member_count",
            "removed_member_ids": "payload.data.removed_member_ids",
        },
    ),
)
