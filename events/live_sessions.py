"""Who is behind a session, and whether they still are. Nothing here changes a session.

Django's own `get_user` ends or renews sessions, and a socket cannot tell the browser their new key.
"""

from collections.abc import Collection
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import Any

from django.conf import settings
from django.contrib.auth import (
    BACKEND_SESSION_KEY,
    HASH_SESSION_KEY,
    SESSION_KEY,
    get_user_model,
    load_backend,
)
from django.contrib.auth.base_user import AbstractBaseUser
from django.utils import timezone
from django.utils.crypto import constant_time_compare


@dataclass(frozen=True, slots=True)
class Viewer:
    """A person at an open page, as of when they connected."""

    session_key: str
    user_id: Any  # the user's primary key
    auth_hash: str  # changes with the password

    @property
    def person(self) -> str:
        """The person, as keys of events name them."""
        return str(self.user_id)


def viewer_of(session_key: str) -> Viewer | None:
    """Return who is logged in by a session, or None."""
    if not session_key:
        return None
    session = _session_store()(session_key).load()
    backend = session.get(BACKEND_SESSION_KEY)
    if SESSION_KEY not in session or backend not in settings.AUTHENTICATION_BACKENDS:
        return None
    user = load_backend(backend).get_user(_to_python(session[SESSION_KEY]))
    auth_hash = session.get(HASH_SESSION_KEY, "")
    if not isinstance(user, AbstractBaseUser) or not _matches(user, auth_hash):
        return None
    return Viewer(session_key=session_key, user_id=user.pk, auth_hash=auth_hash)


def still_logged_in(viewers: Collection[Viewer]) -> set[Viewer]:
    """Return those whose session lives, account is open and password is the same: two queries."""
    sessions = _session_store().get_model_class().objects
    keys = {viewer.session_key for viewer in viewers}
    alive = sessions.filter(session_key__in=keys, expire_date__gt=timezone.now())
    alive_keys = set(alive.values_list("session_key", flat=True))
    users = get_user_model()._default_manager.filter(is_active=True).only("password")
    users_by_id = users.in_bulk({viewer.user_id for viewer in viewers})
    return {
        viewer
        for viewer in viewers
        if viewer.session_key in alive_keys
        and viewer.user_id in users_by_id
        and _matches(users_by_id[viewer.user_id], viewer.auth_hash)
    }


def _matches(user: AbstractBaseUser, auth_hash: str) -> bool:
    """Tell whether a session's hash is of the user's password, under the key or a former one."""
    is_same = partial(constant_time_compare, auth_hash)
    return is_same(user.get_session_auth_hash()) or any(
        map(is_same, user.get_session_auth_fallback_hash())
    )


def _session_store() -> Any:
    return import_module(settings.SESSION_ENGINE).SessionStore


def _to_python(user_id: str) -> Any:
    return get_user_model()._meta.pk.to_python(user_id)
