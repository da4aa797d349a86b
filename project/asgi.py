"""ASGI entry point: `uvicorn project.asgi:application`."""

import os
from typing import cast

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")
os.environ["USHER_WEB"] = "1"  # settings: requests must be answered in time, commands need not
django_application = get_asgi_application()

# They import what Django sets up.
from channels.routing import ProtocolTypeRouter  # noqa: E402

from project.bodies import Application, BodyLimit  # noqa: E402
from project.live import sockets  # noqa: E402

application = ProtocolTypeRouter(
    {"http": BodyLimit(cast(Application, django_application)), "websocket": sockets()}
)
