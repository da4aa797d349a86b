"""API of accounts, under /api/v1/."""

from django.urls import path

from accounts import api

urlpatterns = [
    path("registrations/", api.Registrations.as_view(), name="api-registrations"),
    path("tokens/", api.Tokens.as_view(), name="api-tokens"),
    path("tokens/current/", api.CurrentToken.as_view(), name="api-current-token"),
    path("me/", api.Me.as_view(), name="api-me"),
]
