"""Discord's OAuth2: people who log in to a dashboard, and the access tokens that it gets for them."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

from aiohttp import web

from . import payloads
from .model import User

TOKEN_SECONDS = 604_800
"""What Discord says how long a token lives."""


@dataclass(frozen=True, slots=True)
class Grant:
    """What a user has given to an application."""

    user: User
    scopes: tuple[str, ...]
    redirect_uri: str = ""


class OAuth2:
    """The codes and the access tokens that were given."""

    def __init__(self, client_id: int) -> None:
        self.client_id = client_id
        """The application's own id."""
        self.client_secret = "client-secret-of-no-worth"
        """What the application shows when it asks for a token."""
        self.signed_in: User | None = None
        """The user of the browser that comes to log in. Agrees to everything."""
        self._codes: dict[str, Grant] = {}
        self._tokens: dict[str, Grant] = {}

    def grant(self, user: User, *scopes: str) -> str:
        """Gives an access token, as if the user had logged in. Its scope is ``identify`` unless told otherwise."""
        token = secrets.token_urlsafe(22)
        self._tokens[token] = Grant(user, scopes or ("identify",))
        return token

    def revoke(self, token: str) -> None:
        """Ends a token, as when it expires or the user takes it back."""
        del self._tokens[token]

    def holder(self, authorization: str) -> Grant | None:
        """What the token in a header stands for."""
        return (
            self._tokens.get(authorization.removeprefix("Bearer "))
            if authorization[:7] == "Bearer "
            else None
        )

    async def authorize(self, request: web.Request) -> web.Response:
        """``GET /oauth2/authorize``: the page where a user agrees. It comes back to the dashboard at once."""
        asked = request.query
        if self.signed_in is None or asked.get("client_id") != str(self.client_id):
            return web.Response(status=400, text="unknown application, or nobody is signed in")
        code = secrets.token_urlsafe(16)
        uri = asked["redirect_uri"]
        self._codes[code] = Grant(self.signed_in, tuple(asked["scope"].split()), uri)
        back = urlencode({"code": code, "state": asked["state"]})
        return web.Response(status=302, headers={"Location": f"{uri}?{back}"})

    async def token(self, request: web.Request) -> web.Response:
        """``POST /oauth2/token``: a code is worth one access token."""
        form: Mapping[str, object] = await request.post()
        grant = self._codes.pop(str(form.get("code")), None)
        application = form.get("client_id"), form.get("client_secret")
        if application != (str(self.client_id), self.client_secret):
            return web.json_response({"error": "invalid_client"}, status=401)
        if grant is None or grant.redirect_uri != form.get("redirect_uri"):
            return web.json_response({"error": "invalid_grant"}, status=400)
        return web.json_response(
            {
                "access_token": self.grant(grant.user, *grant.scopes),
                "token_type": "Bearer",
                "expires_in": TOKEN_SECONDS,
                "scope": " ".join(grant.scopes),
            }
        )

    def me(self, grant: Grant) -> dict[str, object]:
        """The user of a token."""
        return {**payloads.user(grant.user)}
