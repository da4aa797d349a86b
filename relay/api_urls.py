"""API of the relay, under /api/v1/."""

from django.urls import path

from relay import api, risk_api

urlpatterns = [
    path("risk-decisions/", risk_api.RiskDecisions.as_view(), name="api-risk-decisions"),
    path("endpoints/", api.Endpoints.as_view(), name="api-endpoints"),
    path("endpoints/<uuid:pk>/", api.OneEndpoint.as_view(), name="api-endpoint"),
    path("endpoints/<uuid:pk>/secret/", api.EndpointSecret.as_view(), name="api-endpoint-secret"),
    path("endpoints/<uuid:pk>/test/", api.EndpointTest.as_view(), name="api-endpoint-test"),
    path("endpoints/<uuid:pk>/replay/", api.EndpointReplay.as_view(), name="api-endpoint-replay"),
    path(
        "endpoints/<uuid:pk>/attempts/",
        api.EndpointAttempts.as_view(),
        name="api-endpoint-attempts",
    ),
]
