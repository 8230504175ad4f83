#!/usr/bin/env python
"""Django's command-line entry point; `./manage.py help gateway_app` lists the gateway's own commands."""

import os
import sys


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hermes_site.settings")
    if sys.argv[1:2] == ["test"]:
        from hermes_site.isolation import isolate

        isolate()
    from django.core.exceptions import ImproperlyConfigured
    from django.core.management import execute_from_command_line

    try:
        execute_from_command_line(sys.argv)
    except ImproperlyConfigured as error:
        sys.exit(f"{sys.argv[0]}: {error}")


if __name__ == "__main__":
    main()
