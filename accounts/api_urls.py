"""API of accounts, under /api/v1/."""

from django.urls import path

from accounts import api, closing_api, name_api, terms_api

urlpatterns = [
    path("registrations/", api.Registrations.as_view(), name="api-registrations"),
    path("tokens/", api.Tokens.as_view(), name="api-tokens"),
    path("tokens/current/", api.CurrentToken.as_view(), name="api-current-token"),
    path("me/", api.Me.as_view(), name="api-me"),
    path("terms/", terms_api.Terms.as_view(), name="api-terms"),
    path("me/name/", name_api.MyName.as_view(), name="api-name"),
    path("me/terms/", terms_api.MyTerms.as_view(), name="api-my-terms"),
    path("me/close/", closing_api.Close.as_view(), name="api-close"),
    path("me/export/", closing_api.Export.as_view(), name="api-export"),
    path("users/<uuid:user_id>/", api.UserDetail.as_view(), name="api-user"),
]
