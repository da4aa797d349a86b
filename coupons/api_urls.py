"""API of coupons, under /api/v1/."""

from django.urls import path

from coupons import api

urlpatterns = [
    path("me/coupons/", api.MyCoupons.as_view(), name="api-my-coupons"),
    path("coupons/<str:code>/validate/", api.Validation.as_view(), name="api-coupon-validate"),
    path("coupons/<str:code>/redeem/", api.Redemptions.as_view(), name="api-coupon-redeem"),
    path("redemptions/<uuid:pk>/rollback/", api.Rollback.as_view(), name="api-redemption-rollback"),
]
