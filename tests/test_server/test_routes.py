"""Routes, their names, and that they come and go with their cogs."""

from __future__ import annotations

import inspect
import sys
import textwrap
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import discord
import msgspec
import pytest
from discord.ext import commands

from discord_tools.ipc import DuplicateRoute, Request, Route, Server, route
from discord_tools.ipc_server.parameters.binding import Source
from discord_tools.ipc_server.routes import RouteTable

if TYPE_CHECKING:
    from somewhere import Unknown  # pyright: ignore[reportMissingImports]


async def ping(request: Request) -> str:
    """Tells that the bot is there.

    And more.
    """
    return "pong"


class Stats(commands.Cog):
    def __init__(self, answer: Any = "stats") -> None:
        self.answer = answer

    @route()
    async def stats(self, request: Request) -> Any:
        return self.answer

    @route("/Named/Otherwise")
    async def something(self, request: Request, top: int = 1) -> int:
        return top


async def ask(server: Server[Any], name: str, **data: Any) -> Any:
    """What the route says at the moment, without any client."""
    found = server.routes[name]
    return await found(Request(data, None, name, {}, None), **data)  # pyright: ignore[reportArgumentType]


# -- a route


def test_the_parameters_of_route_are_those_of_the_reference() -> None:
    for decorator in (route, Server.route):
        parameters = [p for p in inspect.signature(decorator).parameters.values() if p.name != "self"]
        assert [(p.name, p.kind, repr(p.default)) for p in parameters] == [
            ("name", inspect.Parameter.POSITIONAL_OR_KEYWORD, "..."),
            ("idempotent", inspect.Parameter.KEYWORD_ONLY, "False"),  # beyond the reference
            ("timeout", inspect.Parameter.KEYWORD_ONLY, "None"),
            ("scopes", inspect.Parameter.KEYWORD_ONLY, "None"),
        ]


@pytest.mark.parametrize(
    ("given", "name"),
    [((), "/ping"), (("ping",), "/ping"), (("/ping",), "/ping"), (("a/b",), "/a/b"), (("/Ä ö",), "/Ä ö")],
)
def test_the_name_always_begins_with_a_slash(given: tuple[str, ...], name: str) -> None:
    made = route(*given)(ping)
    assert made.name == name
    assert str(made) == name


def test_a_route_describes_itself() -> None:
    made = route()(ping)
    assert made.callback is ping
    assert made.cog is None
    assert made.description == "Tells that the bot is there."
    assert made.origin == f"{__name__}.ping"
    assert repr(made) == f"<Route name='/ping' callback={__name__}.ping>"


def test_a_route_without_docstring_has_an_empty_description() -> None:
    assert Stats.stats.description == ""


async def test_a_route_can_be_awaited_as_the_function_itself() -> None:
    assert await route()(ping)(Request({}, None, "/ping", {}, None)) == "pong"  # pyright: ignore[reportArgumentType]


async def test_the_route_of_a_cog_object_is_bound_to_it() -> None:
    cog = Stats("mine")
    assert cog.stats.cog is cog
    assert Stats.stats.cog is None
    assert await cog.stats(None) == "mine"
    assert await cog.something(None, top=5) == 5


@pytest.mark.parametrize("name", ["", "/", "//"])
def test_an_empty_name_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="must not be empty"):
        route(name)(ping)


@pytest.mark.parametrize("name", ["rpc.hello", "/rpc.hello"])
def test_names_of_the_protocol_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"the name of a route must not begin with 'rpc.'"):
        route(name)(ping)


def test_the_decorator_without_parentheses_says_so(bot: commands.Bot) -> None:
    for decorator in (route, Server(bot).route):
        with pytest.raises(TypeError, match="written with parentheses"):
            decorator(ping)  # pyright: ignore[reportArgumentType]


def test_a_wrong_function_fails_when_it_is_decorated() -> None:
    with pytest.raises(TypeError, match="must be a coroutine function"):

        @route()
        def plain(request: Request) -> None: ...  # pyright: ignore[reportArgumentType]


def test_a_wrong_method_fails_when_its_class_is_made() -> None:
    with pytest.raises(TypeError, match=r"must take \(self, request, ...\)"):

        class Wrong(commands.Cog):
            @route()
            async def wrong(self) -> None: ...  # pyright: ignore[reportArgumentType]


# -- names in annotations


def test_annotations_may_name_classes_that_are_local_to_a_function() -> None:
    class Local(msgspec.Struct):
        x: int

    @route()
    async def takes(request: Request, local: Local) -> Unknown: ...

    client = discord.Client(intents=discord.Intents.none())
    assert takes.signature.bind(b'{"local":{"x":1}}', Source(client)) == {"local": Local(1)}


def test_annotations_may_name_classes_that_are_local_to_a_cog() -> None:
    class Cog(commands.Cog):
        class Inner(msgspec.Struct):
            x: int

        @route()
        async def takes(self, request: Request, inner: Inner) -> None: ...

    client = discord.Client(intents=discord.Intents.none())
    assert Cog.takes.signature.bind(b'{"inner":{"x":1}}', Source(client)) == {"inner": Cog.Inner(1)}


def test_annotations_of_a_route_of_a_server_may_be_local_too(bot: commands.Bot) -> None:
    class Local(msgspec.Struct):
        x: int

    server = Server(bot)

    @server.route()
    async def one(request: Request, local: Local) -> None: ...

    async def two(request: Request, local: Local) -> None: ...

    server.add_route(two)
    for name in ("/one", "/two"):
        assert server.routes[name].signature.bind(b'{"local":{"x":1}}', Source(bot)) == {"local": Local(1)}


# -- the server's own routes


def test_the_decorator_of_a_server_adds_a_route(bot: commands.Bot) -> None:
    server = Server(bot)
    made = server.route("x")(ping)
    assert isinstance(made, Route)
    assert dict(server.routes) == {"/x": made}


def test_functions_and_routes_can_be_added(bot: commands.Bot) -> None:
    server = Server(bot)
    one = server.add_route(ping)
    two = server.add_route(ping, "two")
    three = server.add_route(route("three")(ping))
    assert dict(server.routes) == {"/ping": one, "/two": two, "/three": three}


def test_a_route_cannot_be_renamed_when_it_is_added(bot: commands.Bot) -> None:
    for more in ({"name": "other"}, {"idempotent": True}, {"timeout": 5}):
        with pytest.raises(TypeError, match="has its name and its properties already"):
            Server(bot).add_route(route()(ping), **more)


def test_methods_are_not_added_without_their_object(bot: commands.Bot) -> None:
    server = Server(bot)
    for method in (Stats.stats, Stats.stats.callback):
        with pytest.raises(TypeError, match="is a method; it comes with its cog"):
            server.add_route(method)
    assert dict(server.routes) == {}


async def test_the_routes_of_an_object_that_is_no_cog_can_be_added(bot: commands.Bot) -> None:
    server = Server(bot)
    server.add_route(Stats("one").stats)
    assert await ask(server, "/stats") == "one"


@pytest.mark.parametrize("name", ["ping", "/ping"])
def test_a_route_is_removed_by_its_name_with_or_without_slash(bot: commands.Bot, name: str) -> None:
    server = Server(bot)
    made = server.add_route(ping)
    assert server.remove_route(name) is made
    assert dict(server.routes) == {}
    assert server.remove_route(name) is None


def test_a_removed_name_can_be_given_again(bot: commands.Bot) -> None:
    server = Server(bot)
    server.add_route(ping)
    server.remove_route("ping")
    assert server.add_route(ping) is server.routes["/ping"]


def test_two_routes_of_one_name_are_an_error_that_names_both(bot: commands.Bot) -> None:
    server = Server(bot)
    first = server.add_route(ping)

    async def other(request: Request) -> None: ...

    with pytest.raises(DuplicateRoute) as caught:
        server.add_route(other, "/ping")
    assert caught.value.name == "/ping"
    assert f"{__name__}.ping" in str(caught.value)
    assert "<locals>.other" in str(caught.value)
    assert dict(server.routes) == {"/ping": first}


def test_the_view_of_the_routes_cannot_be_written_to(bot: commands.Bot) -> None:
    with pytest.raises(TypeError):
        Server(bot).routes["/x"] = route()(ping)  # pyright: ignore[reportIndexIssue]


# -- routes of cogs and of the client's class


async def test_a_cog_has_its_routes_on_the_server_exactly_while_it_is_loaded(bot: commands.Bot) -> None:
    server = Server(bot)
    assert dict(server.routes) == {}
    await bot.add_cog(Stats())
    assert set(server.routes) == {"/stats", "/Named/Otherwise"}
    assert server.routes["/stats"].cog is bot.get_cog("Stats")
    await bot.remove_cog("Stats")
    assert dict(server.routes) == {}


async def test_a_cog_with_a_name_of_its_own_is_found(bot: commands.Bot) -> None:
    class Named(commands.Cog, name="something else"):
        @route()
        async def named(self, request: Request) -> str:
            return self.qualified_name

    server = Server(bot)
    await bot.add_cog(Named())
    assert await ask(server, "/named") == "something else"


async def test_a_cog_that_is_replaced_brings_its_own_state(bot: commands.Bot) -> None:
    server = Server(bot)
    await bot.add_cog(Stats(1))
    assert await ask(server, "/stats") == 1
    await bot.add_cog(Stats(2), override=True)
    assert await ask(server, "/stats") == 2


async def test_a_cog_that_equals_its_predecessor_replaces_its_routes(bot: commands.Bot) -> None:
    @dataclass
    class Equal(commands.Cog):
        answer: int

        def __eq__(self, other: object) -> bool:
            return True

        @route()
        async def stats(self, request: Request) -> int:
            return self.answer

    server = Server(bot)
    await bot.add_cog(Equal(1))
    assert await ask(server, "/stats") == 1
    await bot.add_cog(Equal(2), override=True)
    assert await ask(server, "/stats") == 2


async def test_an_inherited_route_is_there_and_an_overridden_one_is_the_new_one(bot: commands.Bot) -> None:
    class More(Stats):
        @route()
        async def stats(self, request: Request) -> str:
            return "more"

    server = Server(bot)
    await bot.add_cog(More())
    assert await ask(server, "/stats") == "more"
    assert await ask(server, "/Named/Otherwise", top=3) == 3


async def test_a_route_that_is_overridden_by_something_else_does_not_exist(bot: commands.Bot) -> None:
    class Less(Stats):
        something = None  # pyright: ignore[reportAssignmentType]

    server = Server(bot)
    await bot.add_cog(Less())
    assert set(server.routes) == {"/stats"}


async def test_a_cog_that_fails_to_load_leaves_no_route(bot: commands.Bot) -> None:
    class Failing(Stats):
        async def cog_load(self) -> None:
            raise RuntimeError("no")

    server = Server(bot)
    with pytest.raises(RuntimeError):
        await bot.add_cog(Failing())
    assert dict(server.routes) == {}


class OwnRoutes(discord.Client):
    @route()
    async def uptime(self, request: Request) -> Any:
        return self.user


class OwnRoutesBot(commands.Bot):
    @route()
    async def uptime(self, request: Request) -> Any:
        return self.command_prefix


async def test_routes_of_the_class_of_the_client_are_found() -> None:
    async with OwnRoutes(intents=discord.Intents.none()) as client:
        server = Server(client)
        assert server.routes["/uptime"].cog is client
        assert await ask(server, "/uptime") is None
    async with OwnRoutesBot("!", intents=discord.Intents.none()) as bot:
        assert await ask(Server(bot), "/uptime") == "!"


async def test_a_name_that_a_cog_has_cannot_be_added_to_the_server(bot: commands.Bot) -> None:
    server = Server(bot)
    await bot.add_cog(Stats())
    with pytest.raises(DuplicateRoute, match=r"Stats\.stats and .*\.ping"):
        server.add_route(ping, "stats")


async def test_a_server_does_not_start_with_two_routes_of_one_name(bot: commands.Bot) -> None:
    server = Server(bot, port=0, multicast=False)
    server.add_route(ping, "stats")
    await bot.add_cog(Stats())
    with pytest.raises(DuplicateRoute, match=r"\.ping and .*Stats\.stats"):
        await server.start()
    assert not server.is_running()


async def test_of_two_cogs_with_one_name_the_first_keeps_it_and_the_log_names_both(
    bot: commands.Bot, caplog: pytest.LogCaptureFixture
) -> None:
    class Other(commands.Cog):
        @route()
        async def stats(self, request: Request) -> str:
            return "other"

    server = Server(bot)
    await bot.add_cog(Stats("first"))
    await bot.add_cog(Other())
    assert await ask(server, "/stats") == "first"
    assert "Stats.stats" in caplog.text
    assert "Other.stats" in caplog.text
    await bot.remove_cog("Stats")
    assert await ask(server, "/stats") == "other"


def test_a_route_is_found_by_its_name_with_the_leading_slash(bot: commands.Bot) -> None:
    table = RouteTable(bot)
    made = route()(ping)
    table.add(made)
    assert table.find("/ping") is made
    assert table.find("/Ping") is table.find("//ping") is table.find("/") is None


# -- extensions


@pytest.fixture
def extension(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Writes the code of an extension; each call replaces it."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(
        sys, "dont_write_bytecode", True
    )  # two versions in one second look the same to the cache

    def write(code: str) -> str:
        text = "from discord.ext import commands\nfrom discord_tools.ipc import route\n" + textwrap.dedent(
            code
        )
        (tmp_path / "an_extension.py").write_text(text)
        return "an_extension"

    yield write
    sys.modules.pop("an_extension", None)


COG = """
class Cog(commands.Cog):
    @route()
    async def version(self, request):
        return {version}
    {more}

async def setup(bot):
    await bot.add_cog(Cog())
"""


async def test_a_reloaded_extension_runs_its_new_code_only(bot: commands.Bot, extension: Any) -> None:
    server = Server(bot)
    name = extension(COG.format(version=1, more="async_old = route('old')(version.callback)"))
    await bot.load_extension(name)
    assert set(server.routes) == {"/version", "/old"}
    assert await ask(server, "/version") == 1
    extension(COG.format(version=2, more="new = route('new')(version.callback)"))
    await bot.reload_extension(name)
    assert set(server.routes) == {"/version", "/new"}
    assert await ask(server, "/version") == 2
    await bot.unload_extension(name)
    assert dict(server.routes) == {}


async def test_a_reload_that_fails_leaves_the_old_code_in_place(bot: commands.Bot, extension: Any) -> None:
    server = Server(bot)
    name = extension(COG.format(version=1, more=""))
    await bot.load_extension(name)
    extension(COG.format(version=2, more="@route()\n    def wrong(self, request): ..."))
    with pytest.raises(commands.ExtensionFailed, match="must be a coroutine function"):
        await bot.reload_extension(name)
    assert await ask(server, "/version") == 1


async def test_an_extension_that_fails_half_way_leaves_no_route(bot: commands.Bot, extension: Any) -> None:
    server = Server(bot)
    name = extension(COG.format(version=1, more="") + "    raise RuntimeError('half-way')\n")
    with pytest.raises(commands.ExtensionFailed):
        await bot.load_extension(name)
    assert dict(server.routes) == {}


# -- a function of a reloaded module that is added again

ADDED = """
async def version(request):
    return {version}

async def another(request):
    return "another"

async def setup(bot):
    bot.ipc.add_route(version)
"""


class BotWithServer(commands.Bot):
    """A bot whose extensions add functions to its server."""

    ipc: Server[Any]


@pytest.fixture
async def bot_with_server() -> AsyncIterator[BotWithServer]:
    async with BotWithServer("!", intents=discord.Intents.none()) as bot:
        bot.ipc = Server(bot)
        yield bot


async def test_a_function_of_a_reloaded_module_replaces_its_former_self(
    bot_with_server: BotWithServer, extension: Any
) -> None:
    server = bot_with_server.ipc
    for version in range(3):
        name = extension(ADDED.format(version=version))
        await (bot_with_server.reload_extension if version else bot_with_server.load_extension)(name)
        assert set(server.routes) == {"/version"}
        assert await ask(server, "/version") == version


async def test_another_function_does_not_replace_a_route_of_the_same_name(
    bot_with_server: BotWithServer, extension: Any
) -> None:
    server = bot_with_server.ipc
    await bot_with_server.load_extension(extension(ADDED.format(version=1)))
    extension(ADDED.format(version=2).replace("add_route(version)", "add_route(another, 'version')"))
    with pytest.raises(commands.ExtensionFailed) as caught:
        await bot_with_server.reload_extension("an_extension")
    assert isinstance(caught.value.original, DuplicateRoute)
    assert await ask(server, "/version") == 1


async def test_a_reload_that_fails_tells_its_own_error_and_leaves_the_added_function_in_place(
    bot_with_server: BotWithServer, extension: Any
) -> None:
    server = bot_with_server.ipc
    await bot_with_server.load_extension(extension(ADDED.format(version=1)))
    extension(ADDED.format(version=2) + "    raise RuntimeError('half-way')\n")
    with pytest.raises(commands.ExtensionFailed, match="half-way"):
        await bot_with_server.reload_extension("an_extension")
    assert await ask(server, "/version") == 1
    assert "an_extension" in bot_with_server.extensions
    extension(ADDED.format(version=3))
    await bot_with_server.reload_extension("an_extension")
    assert await ask(server, "/version") == 3


async def test_a_function_of_the_same_name_elsewhere_is_a_duplicate(bot: commands.Bot) -> None:
    server = Server(bot)

    def module(name: str) -> Any:
        """A module with this function."""
        namespace: dict[str, Any] = {"__name__": name}
        exec("async def same(request): ...", namespace)
        return namespace["same"]

    server.add_route(module("one"))
    with pytest.raises(DuplicateRoute):
        server.add_route(module("other"))
    server.add_route(module("one"))


async def test_a_function_does_not_replace_a_route_of_a_cog(bot: commands.Bot, extension: Any) -> None:
    server = Server(bot)
    await bot.load_extension(extension(COG.format(version=1, more="")))

    async def version(request: Request) -> int:
        return 2

    with pytest.raises(DuplicateRoute):
        server.add_route(version)
    assert await ask(server, "/version") == 1


# -- functions that setup() defines

IN_SETUP = """
async def setup(bot):
    @bot.ipc.route()
    async def version(request):
        return {version}

    async def added(request):
        return {version}

    bot.ipc.add_route(added)
    {more}
"""


async def test_functions_of_setup_replace_their_former_selves(
    bot_with_server: BotWithServer, extension: Any
) -> None:
    server = bot_with_server.ipc
    for version in range(3):
        name = extension(IN_SETUP.format(version=version, more=""))
        await (bot_with_server.reload_extension if version else bot_with_server.load_extension)(name)
        assert set(server.routes) == {"/version", "/added"}
        assert await ask(server, "/version") == await ask(server, "/added") == version


async def test_functions_of_setup_outlive_a_reload_that_fails(
    bot_with_server: BotWithServer, extension: Any
) -> None:
    server = bot_with_server.ipc
    await bot_with_server.load_extension(extension(IN_SETUP.format(version=1, more="")))
    for broken in ("raise RuntimeError('half-way')", "1 / 0"):
        extension(IN_SETUP.format(version=2, more=broken))
        with pytest.raises(commands.ExtensionFailed, match=r"half-way|division"):
            await bot_with_server.reload_extension("an_extension")
        assert "an_extension" in bot_with_server.extensions
        assert await ask(server, "/version") == await ask(server, "/added") == 1
    extension(IN_SETUP.format(version=3, more=""))
    await bot_with_server.reload_extension("an_extension")
    assert await ask(server, "/version") == await ask(server, "/added") == 3


async def test_functions_of_setup_survive_a_syntax_error(
    bot_with_server: BotWithServer, extension: Any
) -> None:
    server = bot_with_server.ipc
    await bot_with_server.load_extension(extension(IN_SETUP.format(version=1, more="")))
    extension(IN_SETUP.format(version=2, more="def"))
    with pytest.raises(commands.ExtensionFailed, match="SyntaxError"):
        await bot_with_server.reload_extension("an_extension")
    assert await ask(server, "/version") == 1


def test_two_functions_of_one_name_in_one_module_are_duplicates(bot: commands.Bot) -> None:
    server = Server(bot)

    def define(text: str) -> Any:
        namespace: dict[str, Any] = globals()
        exec(text, namespace)
        return namespace.pop("a_function")

    server.add_route(define("async def a_function(request): return 1"))
    with pytest.raises(DuplicateRoute):
        server.add_route(define("async def a_function(request): return 2"))


# -- cogs: all routes or none


class Two(commands.Cog):
    @route()
    async def one(self, request: Request) -> str:
        return "one"

    @route()
    async def stats(self, request: Request) -> str:
        return "two"


async def test_a_cog_of_which_one_name_is_taken_has_no_routes(
    bot: commands.Bot, caplog: pytest.LogCaptureFixture
) -> None:
    server = Server(bot)
    await bot.add_cog(Stats("first"))
    await bot.add_cog(Two())
    assert set(server.routes) == {"/stats", "/Named/Otherwise"}
    assert await ask(server, "/stats") == "first"
    assert "Two.stats; the cog of the second one has no routes" in caplog.text
    await bot.remove_cog("Stats")
    assert set(server.routes) == {"/one", "/stats"}
    assert await ask(server, "/stats") == "two"


async def test_a_cog_with_two_routes_of_one_name_has_no_routes(
    bot: commands.Bot, caplog: pytest.LogCaptureFixture
) -> None:
    class Twice(commands.Cog):
        @route("same")
        async def one(self, request: Request) -> None: ...

        @route("same")
        async def two(self, request: Request) -> None: ...

        @route()
        async def other(self, request: Request) -> None: ...

    server = Server(bot, port=0, multicast=False)
    await bot.add_cog(Twice())
    assert dict(server.routes) == {}
    assert "two routes are named '/same'" in caplog.text
    with pytest.raises(DuplicateRoute):
        await server.start()


async def test_several_cogs_have_their_routes_each(bot: commands.Bot) -> None:
    def cog(number: int) -> commands.Cog:
        class Numbered(commands.Cog, name=f"cog {number}"):
            @route(f"route {number}")
            async def work(self, request: Request) -> int:
                return number

        return Numbered()

    server = Server(bot)
    for number in range(5):
        await bot.add_cog(cog(number))
    for number in range(5):
        assert await ask(server, f"/route {number}") == number
    for number in range(5):
        await bot.remove_cog(f"cog {number}")
        assert set(server.routes) == {f"/route {one}" for one in range(number + 1, 5)}


async def test_a_group_cog_has_routes_and_commands(bot: commands.Bot) -> None:
    class Settings(commands.GroupCog, name="settings"):
        @route()
        async def get(self, request: Request) -> str:
            return self.qualified_name

        @discord.app_commands.command()
        async def show(self, interaction: discord.Interaction) -> None:
            """Shows the settings."""

    server = Server(bot)
    await bot.add_cog(Settings())
    assert await ask(server, "/get") == "settings"
    assert [command.qualified_name for command in bot.tree.walk_commands()] == ["settings", "settings show"]
    await bot.remove_cog("settings")
    assert dict(server.routes) == {}
    assert list(bot.tree.walk_commands()) == []


# -- the check that discord.py asks for commands


async def test_a_cog_with_cog_check_and_routes_is_warned_about_once(
    bot: commands.Bot, caplog: pytest.LogCaptureFixture
) -> None:
    class Checked(Stats):
        async def cog_check(self, ctx: commands.Context[Any]) -> bool:
            return False

    server = Server(bot)
    for _ in range(3):
        await bot.add_cog(Checked())
        assert server.routes
        await bot.remove_cog("Checked")
    (record,) = [one for one in caplog.records if "cog_check" in one.getMessage()]
    assert "Checked is for commands only, and is not asked for its routes" in record.getMessage()
    assert "define cog_ipc_check(self, request)" in record.getMessage()


async def test_a_group_cog_with_interaction_check_is_warned_about(
    bot: commands.Bot, caplog: pytest.LogCaptureFixture
) -> None:
    class Checked(commands.GroupCog, name="checked"):
        async def interaction_check(self, interaction: discord.Interaction) -> bool:
            return False

        @route()
        async def get(self, request: Request) -> None: ...

    await bot.add_cog(Checked())
    assert Server(bot).routes
    assert "interaction_check of" in caplog.text


async def test_a_cog_without_routes_or_with_a_check_of_its_own_is_not_warned_about(
    bot: commands.Bot, caplog: pytest.LogCaptureFixture
) -> None:
    class NoRoutes(commands.Cog):
        async def cog_check(self, ctx: commands.Context[Any]) -> bool:
            return False

    class Both(Stats):
        async def cog_check(self, ctx: commands.Context[Any]) -> bool:
            return False

        async def cog_ipc_check(self, request: Request) -> bool:
            return True

    for cog in (NoRoutes(), Both(), Two()):
        await bot.add_cog(cog)
        assert Server(bot).routes is not None
        await bot.remove_cog(cog.qualified_name)
    assert "cog_check" not in caplog.text


def test_a_name_that_is_no_string_is_refused() -> None:
    with pytest.raises(TypeError, match="must be a string, not 5"):
        route(5)(ping)  # pyright: ignore[reportArgumentType]
