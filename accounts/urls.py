"""Pages of accounts. Included before allauth's URLs, some of which these replace."""

from django.urls import path

from accounts import views

urlpatterns = [
    path("i/<str:code>/", views.invite, name="invite"),
    path("accounts/signup/", views.SignUpView.as_view(), name="account_signup"),
    path("accounts/email/", views.EmailView.as_view(), name="account_email"),
]
