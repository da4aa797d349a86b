"""allauth's app of sessions, with our account of a login."""

from allauth.account.signals import user_logged_in
from allauth.usersessions.apps import UserSessionsConfig as AllauthUserSessionsConfig


class UserSessionsConfig(AllauthUserSessionsConfig):  # type: ignore[misc]  # allauth is not typed
    """Where people are logged in."""

    def ready(self) -> None:
        """Connect allauth's receivers, but ours for logins."""
        super().ready()
        from allauth.usersessions.signals import on_user_logged_in

        from accounts.sessions import list_session

        user_logged_in.disconnect(on_user_logged_in)
        user_logged_in.connect(list_session, dispatch_uid="accounts.list_session")
