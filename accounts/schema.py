"""How the OpenAPI document describes tokens and sessions."""

from typing import Any

from drf_spectacular.authentication import SessionScheme as SpectacularSessionScheme
from drf_spectacular.extensions import OpenApiAuthenticationExtension


class TokenScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """The name and form of the tokens."""

    target_class = "accounts.authentication.TokenAuthentication"
    name = "token"

    def get_security_definition(self, auto_schema: Any) -> dict[str, Any]:
        """Describe the header."""
        return {
            "type": "apiKey",
            "in": "header",
            "name": "Authorization",
            "description": "`Token <token>`, from `POST /api/v1/tokens/`.",
        }


class SessionScheme(SpectacularSessionScheme):  # type: ignore[no-untyped-call]
    """The cookie of a session."""

    target_class = "accounts.authentication.SessionAuthentication"
