"""API of coupons, under /api/v1/."""

from django.urls import path

from coupons import api

urlpatterns = [
    path("me/coupons/", api.MyCoupons.as_view(), name="api-my-coupons"),
]
