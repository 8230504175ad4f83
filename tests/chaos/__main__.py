"""Runs the suite, with Django set up first: what it takes apart are the product's own modules."""

from __future__ import annotations

import sys

from hermes_site.isolation import isolate
from tests.chaos.launch import set_up

if __name__ == "__main__":
    isolate()
    set_up()
    from tests.chaos.suite import main

    sys.exit(main())
