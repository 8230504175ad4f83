"""The all-in-one: finding out whether it runs, starting its services, and keeping them alive."""
