"""The ASGI application that `manage.py serve` runs."""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hermes_site.settings")

from django.core.asgi import get_asgi_application

application = get_asgi_application()
