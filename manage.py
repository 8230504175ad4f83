#!/usr/bin/env python
"""Django's command-line entry point; `./manage.py help gateway_app` lists the gateway's own commands."""

import os
import sys


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hermes_site.settings")
    if sys.argv[1:2] == ["test"]:
        from hermes_site.isolation import isolate

        isolate()
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
