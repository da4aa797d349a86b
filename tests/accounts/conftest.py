"""People, and a look at everything a registration stores."""

from collections.abc import Callable

import pytest
from allauth.account.models import EmailAddress
from django.utils import timezone
from pytest_django import Settings

from accounts import services
from accounts.models import AccountStatus, Referral, User
from events.models import Delivery, Event

PASSWORD = "a long enough one"

Register = Callable[..., services.Registration]


@pytest.fixture
def register(db: None) -> Register:
    """Return a function that registers somebody; what matters is given, the rest is made up."""
    numbers = iter(range(1_000))

    def run(**given: object) -> services.Registration:
        typed = {"email": f"person{next(numbers)}@example.com", "password": PASSWORD}
        return services.register(**(typed | given))  # type: ignore[arg-type]

    return run


@pytest.fixture
def inviter(register: Register) -> User:
    """Return somebody who invites others."""
    return register(email="inviter@example.com").user


@pytest.fixture
def mandatory(settings: Settings) -> None:
    """Let addresses be confirmed before a sign-up is complete."""
    settings.SIGNUP_EMAIL_VERIFICATION = "mandatory"
    settings.ACCOUNT_EMAIL_VERIFICATION = "mandatory"


@pytest.fixture(params=["optional", "mandatory"])
def verification(request: pytest.FixtureRequest, settings: Settings) -> str:
    """Run the test in both verification modes."""
    settings.SIGNUP_EMAIL_VERIFICATION = request.param
    settings.ACCOUNT_EMAIL_VERIFICATION = request.param
    return str(request.param)


def close(user: User) -> None:
    """Close an account, as far as its row goes."""
    User.objects.filter(pk=user.pk).update(
        status=AccountStatus.CLOSED, closed_at=timezone.now(), is_active=False
    )


def flag(user: User) -> None:
    """Put an account under review, as far as its row goes."""
    User.objects.filter(pk=user.pk).update(status=AccountStatus.FLAGGED)


def stored() -> dict[str, int]:
    """Return how many rows there are of everything a registration writes."""
    models = (User, EmailAddress, Referral, Event, Delivery)
    return {model.__name__: model._default_manager.count() for model in models}


def registered_events() -> list[dict[str, object]]:
    """Return the data of all `user_registered` events, in order."""
    rows = Event.objects.filter(type="accounts.user_registered").order_by("position")
    return list(rows.values_list("data", flat=True))
