"""WSGI entry point, for servers that speak no ASGI."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")
os.environ["USHER_WEB"] = "1"  # settings: requests must be answered in time, commands need not
application = get_wsgi_application()
