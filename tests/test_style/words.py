"""Words that are not to be used, and what to write instead. ``docs/glossary.rst`` has the words to use."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from test_style.source import Finding

# Patterns are regular expressions that ignore case. ``\b`` is the edge of a word, also next to an underscore, and a
# space is any gap between words: an underscore, or the end of a line with the mark of a comment on the next one.

#: Not to be used anywhere.
WORDS: Final[Mapping[str, str]] = {
    # Numbers and limits
    r"\bso (?:many|much)\b(?! (?:[a-z]+ )?that\b)": "'at most `seconds`', 'after N items', 'maximum number of ...'",
    r"\bat the most\b": "'at most'",
    r"\bit is looked\b": "'checks every N seconds whether ...'",
    r"\bfor ever\b": "'forever', 'indefinitely', or what it never does",
    # Who it is about
    r"\bwhoever\b": "'any client that', 'callers that'",
    r"(?-i:\bWho) (?:asks|makes|needs|reads|sends|shows|takes|waits|wants)\b": "a noun: 'producers of large frames'",
    r"\bstrangers?\b": "'unauthenticated'",
    r"\b(?:for|from|of) nobody\b|\bnobody of\b": "'no client', 'unused', or name what is missing",
    r"\bof ours\b": "'our own ...', 'outgoing ...'; for a fault, 'a bug in this library'",
    r"\bof this idea\b": "'older IPC libraries'",
    # Connections
    r"\b(?:take|takes|taken|taking|took) (?:(?:his|her|its|our|their|your) )?leave\b": "'closes', 'sends rpc.bye'",
    r"\b(?:hang|hanging|hangs|hung) ?up\b": "'disconnects', 'closes the connection'",
    r"\b(?:had|has|have) gone\b(?! (?:back|past|through|wrong)\b)": "'has disconnected', 'has ended'",
    r"\b(?:came|come|comes|coming) in\b(?! (?:a|an|any|bursts|one|order|pairs|the|their|this|two)\b)": (
        "'connects', 'arrives', 'is received'"
    ),
    r"\blets? (?:[a-z]+ ){1,3}in\b(?! (?:a|an|one|the)\b)": "'accepts'",
    r"\bturn(?:ed|ing|s)? ?away\b": "'refuses'",
    r"\bmend(?:ed|ing|s)?\b": "'reconnects', 'restores', 'fixes'",
    r"\bgreet": "'handshake', 'hello', 'welcome'",
    r"\b(?:a|another|each|every|its|one|the|this) talk\b(?! (?:to|with)\b)": "'conversation'",
    r"\bto and fro\b": "'back and forth'",
    r"\bsigns? of life\b": "'traffic', 'a response', 'a pong'",
    r"(?<![\"'.])\b(?<!self_)deaf\b(?![\"'])": "'a client that does not read'",
    r"\bhabits\b": "what these clients do, with 'so ...' for what follows",
    # Names of classes
    r"\bLeaver\b|\bLifeline\b": "CloseHook for the client's close, DialectSocket for a socket that can close",
    r"\bPlain(?:Call|Listener|Request|Service|Talk)\b": "DialectCall, DialectListener, DialectSocket, ...",
    r"(?-i:\bViolated\b)": "ProtocolViolation",
    r"\bseats?\b": "'place', CallWindow",
    # Verbs
    r"\b(?:begin|begins|end|ends) to listen\b": "'starts listening', 'stops listening'",
    r"\b(?:are|be|been|being|has|have|is|was|were) (?:not )?looked at\b": "'checked', 'decoded', 'processed'",
    r"(?<!what\sit\s)(?<!as\sit\s)\b(?:are|be|been|being|is|was|were) (?:(?!not\b)[a-z]+ )?told\b"
    r"(?! (?:about|apart|from|how|its|not|of|that|the|to|what|when|where|whether|which|why)\b)": (
        "'is notified', 'gets an error', 'is logged', 'is recognised by', 'is not disclosed'"
    ),
    r"\bpass(?:ed|es)? over\b": "'ignores', 'drops'",
    r"\b(?:stand|standing|stands|stood) still\b": "'is blocked' for a loop, 'does not change' for a value",
    r"\bwhat(?:ever)? becomes of\b": "'what happens to'",
    # Adverbs and turns of phrase
    r"\bhow things stand\b": "'state'",
    r'"""Closed by default\.': "what the class does: 'Decides who may connect: ...'",
    r"\bthe way there\b": "'round trip', 'overhead'",
    r"\bof the moment\b": "'current'",
    r"\banew\b": "'again', 'from the start'",
    r"\ball else\b": "'everything else'",
    r"\balso (?:if|when|where)\b": "'even if', 'even when'",
}

#: Not to be used in the packages. Elsewhere these words have other meanings too: a link in a page, say.
CODE_WORDS: Final[Mapping[str, str]] = {
    r"\blink\b": "'connection', Connection",
    r"\btalk\b(?! (?:to|with)\b)": "'conversation', Conversation",
    r"(?-i:\bRoom\b)|(?<!has_)\broom\(": "ByteBudget; for a method what it waits for or returns",
}


class Allowed(NamedTuple):
    """A place where a word is meant to stand."""

    path: str
    pattern: str
    reason: str


#: Texts of other libraries that must stay as they are belong here too.
ALLOWED: Final = (
    Allowed("tests/test_end_to_end/test_access.py", r"\bgreet", "the name of a route"),
    Allowed("tests/test_loopback/test_loopback_events.py", r"\bgreet", "the name of a bot's command"),
    Allowed("tests/test_server/test_signature.py", r"\bgreet", "the name of a route's parameter"),
)

_EDGE = r"(?:(?<![A-Za-z])(?=[A-Za-z])|(?<=[A-Za-z])(?![A-Za-z]))"
_GAP = r"(?:_|[ \t]+|[ \t]*\n[ \t]*(?:(?:#:?|//)[ \t]+)?)"


def unwanted_words(text: str, words: Mapping[str, str]) -> list[Finding]:
    """Finds words that are not to be used."""
    findings = {
        Finding(
            text.count("\n", 0, match.start()) + 1,
            f"{' '.join(match[0].split())!r}: write {instead}",
        )
        for pattern, instead in words.items()
        for match in _compiled(pattern).finditer(text)
    }
    return sorted(findings)


def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern.replace(r"\b", _EDGE).replace(" ", _GAP), re.IGNORECASE)
