"""The subcommands of `manage.py honcho`, one module each, made as those of `manage.py gateway` are."""
