"""The secret key of tests."""

from __future__ import annotations

KEY = "a key that only tests know"
