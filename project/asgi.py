"""ASGI entry point: `uvicorn project.asgi:application`."""

import os
from typing import cast

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")
django_application = get_asgi_application()

from project.bodies import Application, BodyLimit  # noqa: E402  it imports what Django sets up

application = BodyLimit(cast(Application, django_application))
