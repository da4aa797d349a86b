"""API of points, under /api/v1/."""

from django.urls import path

from points import api

urlpatterns = [
    path("me/points/", api.MyPoints.as_view(), name="api-my-points"),
    path("me/points/entries/", api.MyEntries.as_view(), name="api-my-points-entries"),
    path("points/spend/", api.Spend.as_view(), name="api-points-spend"),
    path(
        "points/entries/<uuid:entry_id>/rollback/",
        api.RollBackSpend.as_view(),
        name="api-points-rollback",
    ),
]
