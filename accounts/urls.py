"""Pages of accounts, but for the sign-up, which spans apps: `project.signup`.

Included before allauth's URLs, some of which these replace.
"""

from django.urls import path

from accounts import views
from accounts.sessions import SessionsView
from accounts.terms import Document

urlpatterns = [
    path("i/<str:code>/", views.invite, name="invite"),
    path("accounts/", views.account, name="account"),
    path("accounts/name/", views.name, name="account_name"),
    path("accounts/terms/", views.agree, name="account_agree"),
    path("terms/", views.document, {"which": Document.TERMS}, name="terms"),
    path("privacy/", views.document, {"which": Document.PRIVACY}, name="privacy"),
    path("accounts/close/", views.close, name="account_close"),
    path("accounts/export/", views.export, name="account_export"),
    path("accounts/sessions/", SessionsView.as_view(), name="usersessions_list"),
    path(
        "accounts/2fa/webauthn/login/",
        views.PasskeyLoginView.as_view(),
        name="mfa_login_webauthn",
    ),
    path("accounts/email/", views.EmailView.as_view(), name="account_email"),
]
