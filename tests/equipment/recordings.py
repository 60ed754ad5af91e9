"""What the published clients and servers of older libraries said to each other."""

from __future__ import annotations

import json
from typing import Any

from equipment.checkout import ROOT

__all__ = ("RECORDED_KEY", "RECORDINGS")

#: The key that the recorded clients show.
RECORDED_KEY = "kE4y-9fX"

#: The file of each library, by its name: the ``key`` that its clients show, and the ``recordings``.
RECORDINGS: dict[str, dict[str, Any]] = {
    path.stem: json.loads(path.read_text("utf-8"))
    for path in sorted((ROOT / "tests/test_dialects/recordings").glob("*.json"))
}
