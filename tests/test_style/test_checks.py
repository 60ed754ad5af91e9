"""Each check finds what it is for, and nothing else."""

from __future__ import annotations

import textwrap
from collections.abc import Callable

import pytest

from test_style.fields import unexplained_fields
from test_style.source import (
    FILE_LINES,
    FUNCTION_LINES,
    Finding,
    defined_names,
    long_file,
    long_functions,
    missing_docstring,
    protocols_without_implementer,
    unknown_exports,
)
from test_style.words import CODE_WORDS, WORDS, unwanted_words


def lines_of(check: Callable[[str], list[Finding]], text: str) -> list[int]:
    return [finding.line for finding in check(textwrap.dedent(text))]


def function(lines: int, more: str = "") -> str:
    """A function with so many lines of code."""
    return "def work():\n" + more + "    x = 1\n" * (lines - 1)


# -- length


def test_a_function_of_more_lines_than_the_limit_is_found() -> None:
    (finding,) = long_functions("import x\n\n\n" + function(FUNCTION_LINES + 1))
    assert finding.line == 4
    assert "work() has 51 lines of code" in finding.text


def test_docstrings_comments_and_blank_lines_are_no_lines_of_code() -> None:
    more = '    """What it does.\n\n    And why.\n    """\n' + "    # a reason\n\n" * 10
    assert not long_functions(function(FUNCTION_LINES, more))


def test_a_string_of_several_lines_is_code() -> None:
    more = '    text = """\n' + "    a\n" * FUNCTION_LINES + '    """\n'
    assert long_functions(function(2, more))


def test_nested_functions_count_for_themselves_and_for_the_outer_one() -> None:
    outer = "def outer():\n" + textwrap.indent(function(FUNCTION_LINES), "    ")
    assert [finding.text.split("(")[0] for finding in long_functions(outer)] == ["outer"]
    longer = "async def outer():\n" + textwrap.indent(function(FUNCTION_LINES + 1), "    ")
    assert [finding.text.split("(")[0] for finding in long_functions(longer)] == ["outer", "work"]


def test_a_long_file_is_found_unless_docstrings_make_it_long() -> None:
    assert long_file("x = 1\n" * (FILE_LINES + 1))
    assert not long_file("x = 1\n" * FILE_LINES)
    docstring = '"""What it does.\n' + "More.\n" * 100 + '"""\n'
    assert not long_file(docstring + "x = 1\n" * FILE_LINES)
    assert long_file(docstring + "x = 1\n" * (FILE_LINES + 1))


# -- modules


def test_a_module_without_a_docstring_is_found() -> None:
    assert lines_of(missing_docstring, "x = 1") == [1]
    assert lines_of(missing_docstring, "") == [1]
    assert lines_of(missing_docstring, '"""Adds things."""') == []


def test_a_name_in_all_that_the_module_does_not_have_is_found() -> None:
    text = """
        from a import b as c, d
        __all__ = ("E", "b", "c", "d", "f")
        class E:
            b = 1
        try:
            import g
        except ImportError:
            f = None
        """
    assert [finding.text.split("'")[1] for finding in unknown_exports(textwrap.dedent(text))] == ["b"]


def test_all_may_be_made_of_several_parts() -> None:
    text = """
        from other import __all__ as more
        if more:
            x: int = 1
            __all__ = ["x", *more]
        else:
            __all__ = ["y"]
            __all__ += ["z"]
        """
    assert lines_of(unknown_exports, text) == [7, 8]


# -- protocols


@pytest.mark.parametrize(
    "docstring",
    [
        "",
        "Carries messages.",
        "Implemented by several classes.",
        "Implemented by :class:`Gone`.",
        "Implemented by :class:`Socket` and :class:`Gone`.",
        "Implemented by several. See :class:`Socket`.",
    ],
)
def test_a_protocol_that_does_not_name_its_implementers_is_found(docstring: str) -> None:
    text = f'class Carrier(Protocol[T]):\n    """{docstring}"""\n'
    assert [finding.line for finding in protocols_without_implementer(text, {"Socket"})] == [1]


@pytest.mark.parametrize(
    "text",
    [
        'class Carrier(Protocol):\n    """Carries messages. Implemented by :class:`Socket`."""',
        'class Carrier(typing.Protocol):\n    """Carries.\n\n    Implemented\n    by ``Socket``, for now.\n    """',
        'class Carrier(Base, Protocol):\n    """Implemented by :class:`~aiohttp.web.WebSocketResponse`"""',
        "class Reader(asyncio.Protocol): ...",
        "class ProtocolError(Exception): ...",
    ],
)
def test_a_protocol_that_names_an_implementer_is_not_found(text: str) -> None:
    assert not protocols_without_implementer(text, {"Socket"})


def test_the_names_of_classes_and_functions_are_known() -> None:
    assert defined_names("class A:\n    def b(self): ...\nasync def c(): ...\nd = 1") == {"A", "b", "c"}


# -- fields


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        # Only what __init__ assigns, and the first time it does.
        (
            """
            class A:
                def __init__(self, x):
                    self.plain = 1
                    if x:
                        self._x, self.other = x, 2
                    self.plain = 3
                def run(self):
                    self.later = 4
            """,
            [4, 6],
        ),
        # A comment explains one field, and comments for tools explain none.
        (
            """
            class A:
                def __init__(self):
                    # Explained.
                    self.one = 1
                    self.two = 2
                    self.three = 3  # noqa: X123
                    # -- section
                    self.four: int = 4  # pyright: ignore
                    # Not directly above.

                    self.five = 5
            """,
            [6, 7, 9, 12],
        ),
        # Another name, or more than a plain store.
        (
            """
            class A:
                def __init__(self, size, name):
                    self._bytes = size
                    self._name = str(name)
            """,
            [4, 5],
        ),
        # A default in the class, and what it is called elsewhere.
        (
            '''
            class A:
                """Keeps ``one``. The number two is not named."""
                one = 1
                two: int = 2
                __slots__ = ()
                three: int
            ''',
            [5],
        ),
        ("class A(Struct):\n    x: int = 1", [2]),
    ],
)
def test_a_field_that_nothing_explains_is_found(text: str, lines: list[int]) -> None:
    assert lines_of(unexplained_fields, text) == lines


@pytest.mark.parametrize(
    "text",
    [
        # A parameter under its own name.
        """
        class A:
            def __init__(self, limits, host, *, port, **more):
                self._limits = limits
                self.host: str = host
                self._port, self.more = port, more
        """,
        # Comments above and beside, also within a statement of several lines.
        """
        class A:
            size = 1  # bytes
            def __init__(self):
                #: Set once the connection is there,
                #: and never again.
                self.ready = False
                self.free = 3  # places
                self.table = dict(
                    a=1,  # the only one
                )
        """,
        # The docstring of the class, or of a base class.
        '''
        class A:
            """Does things.

            Parameters
            ----------
            headers: Mapping
                What calls carry.

            Attributes
            ----------
            host, port: str
                Where it is.
            """
            def __init__(self, headers):
                self._headers = dict(headers)
                self.host = self.port = ""
        class B(A):
            def __init__(self):
                self.host = "localhost"
        ''',
        # A property of that name, and an annotation with a comment.
        '''
        class A:
            timer: Timer | None  # ends it
            code = 1  # the number
            def __init__(self):
                self.timer = None
                self._closed = False
                self.code = 2
            @property
            def closed(self):
                """Whether it is closed."""
        ''',
        # Records.
        '''
        class A(Struct, gc=False):
            """A point."""
            x: int = 0
        class B(A):
            """Another one."""
            y: int = 0
        @dataclass(frozen=True)
        class C:
            """A third."""
            z: int = 0
        ''',
    ],
)
def test_a_field_that_is_explained_is_not_found(text: str) -> None:
    assert lines_of(unexplained_fields, text) == []


# -- words

#: At least one for each pattern.
UNWANTED = (
    "After so many seconds",
    "one second at the most",
    "How often it is looked whether",
    "it waits for ever",
    "whoever closes it",
    "Who makes large frames waits here.",
    "a stranger",
    "a connection of nobody",
    "a call of ours",
    "older clients of this idea",
    "The bot takes its leave",
    "the client hung up",
    "the caller has gone",
    "what has come in so far",
    "Lets clients in, or not.",
    "turn_away(client)",
    "it mends the connection",
    "def _greeting",
    "one end of the talk",
    "to and fro",
    "no sign of life",
    "a deaf client",
    "none of their habits",
    "CloseHook, once Lifeline",
    "PlainTalk",
    "isinstance(event, Violated)",
    "_free_seat()",
    "Ends to listen.",
    "when all has been looked at",
    "and the client is told.",
    "the answer is passed over",
    "a loop that stood still",
    "whatever becomes of connections",
    "How things stand.",
    '"""Closed by default.',
    "without the way there",
    "the connection of the moment",
    "it begins anew",
    "all else is refused",
    "also when it waits",
    "self._link = Link(",
    "self.talk.peer",
    "await self.room()",
)


def test_every_unwanted_word_is_found() -> None:
    for pattern in {**WORDS, **CODE_WORDS}:
        assert any(unwanted_words(text, {pattern: ""}) for text in UNWANTED), pattern
    for text in UNWANTED:
        assert unwanted_words(text, {**WORDS, **CODE_WORDS}), text


@pytest.mark.parametrize(
    "text",
    [
        "with so much data that it is split",
        "the answers come in one message",
        "what has gone wrong",
        "the caller is told that the bot stops",
        "an id cannot be told from a number",
        "does what it is told, as it is told",
        '"deaf": state.deaf, "self_deaf": False',
        "a bot and a dashboard that talk to each other",
        "a whole number of seconds",
        "a blink of an eye, a seaport, a mushroom(",
        "if there is room",
        "agreeting",
        "stay in place; turn it off",
    ],
)
def test_plain_words_are_not_found(text: str) -> None:
    assert not unwanted_words(text, {**WORDS, **CODE_WORDS})


def test_a_phrase_is_found_across_the_end_of_a_line() -> None:
    text = "#: Maximum number of calls.\n    #: After so\n    #: many calls it waits.\n"
    (finding,) = unwanted_words(text, WORDS)
    assert finding.line == 2
    assert "at most" in finding.text
    assert not unwanted_words("it does so\n\nmany calls", WORDS)
