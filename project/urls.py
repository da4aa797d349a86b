"""Every address of Usher. Apps bring their own; the ones that span apps are here."""

from django.contrib import admin
from django.urls import URLPattern, URLResolver, include, path
from django.views.generic import RedirectView

from accounts import staff
from project import health, metrics, simulating_page, support, views
from project.api.docs import DocsView, SchemaView
from project.catalogue_page import event_catalogue
from project.checkout_api import CheckoutDetail, Checkouts
from project.deliveries_api import Deliveries, OneDelivery, ReplayDelivery, SkipDelivery
from project.events_api import Events, OneEvent
from project.receivers_api import PauseReceiver, Receivers, ResumeReceiver
from project.referrals_api import MyReferrals
from project.signup import InvitedSignUpView

staff.guard(admin.site)

api_v1: list[URLPattern | URLResolver] = [
    path("", include("accounts.api_urls")),
    path("", include("coupons.api_urls")),
    path("", include("points.api_urls")),
    path("checkouts/", Checkouts.as_view(), name="api-checkouts"),
    path("checkouts/<uuid:pk>/", CheckoutDetail.as_view(), name="api-checkout"),
    path("me/referrals/", MyReferrals.as_view(), name="api-referrals"),
    path("", include("relay.api_urls")),
    path("events/", Events.as_view(), name="api-events"),
    path("events/<uuid:event_id>/", OneEvent.as_view(), name="api-event"),
    path("deliveries/", Deliveries.as_view(), name="api-deliveries"),
    path("deliveries/<str:pk>/", OneDelivery.as_view(), name="api-delivery"),
    path("deliveries/<str:pk>/replay/", ReplayDelivery.as_view(), name="api-delivery-replay"),
    path("deliveries/<str:pk>/skip/", SkipDelivery.as_view(), name="api-delivery-skip"),
    path("receivers/", Receivers.as_view(), name="api-receivers"),
    path("receivers/<str:name>/pause/", PauseReceiver.as_view(), name="api-receiver-pause"),
    path("receivers/<str:name>/resume/", ResumeReceiver.as_view(), name="api-receiver-resume"),
]

urlpatterns = [
    path("", views.landing, name="landing"),
    path("wallet/", views.wallet, name="wallet"),
    path("wallet/parts/", views.wallet_parts, name="wallet-parts"),
    path("accounts/signup/", InvitedSignUpView.as_view(), name="account_signup"),
    path("", include("accounts.urls")),  # before allauth's: it replaces some of them
    path("accounts/", include("allauth.account.urls")),
    path("accounts/2fa/", include("allauth.mfa.urls")),
    path(
        ".well-known/change-password",
        RedirectView.as_view(pattern_name="account_change_password"),
        name="change-password",
    ),
    path("favicon.ico", views.favicon, name="favicon"),
    path("i18n/", include("django.conf.urls.i18n")),
    path("admin/catalogue/", event_catalogue, name="event-catalogue"),
    path("admin/support/", support.look_up, name="support"),
    path("admin/support/accounts/<uuid:user_id>/", support.person, name="support-person"),
    path("admin/support/events/<uuid:event_id>/", support.event, name="support-event"),
    path(
        "admin/support/deliveries/<int:delivery_id>/replay/", support.replay, name="support-replay"
    ),
    path("admin/support/deliveries/<int:delivery_id>/skip/", support.skip, name="support-skip"),
    path("admin/support/receivers/<str:name>/resume/", support.resume, name="support-resume"),
    path("admin/simulate/", simulating_page.ask, name="simulate"),
    path("admin/simulate/<uuid:user_id>/", simulating_page.person, name="simulate-person"),
    path("admin/monitor/", include("project.monitor.urls")),
    path("admin/", admin.site.urls),
    path("api/v1/", include(api_v1)),
    path("api/schema/", SchemaView.as_view(), name="api-schema"),
    path("api/docs/", DocsView.as_view(), name="api-docs"),
    path("livez", health.livez, name="livez"),
    path("readyz", health.readyz, name="readyz"),
    path("metrics", metrics.metrics, name="metrics"),
]

handler400 = "project.failures.bad_request"
handler403 = "project.failures.forbidden"
handler404 = "project.failures.not_found"
handler429 = "accounts.views.too_many_requests"  # allauth asks for it
handler500 = "project.failures.server_error"
