"""The configuration: one typed schema, the sources it is read from, and what is in force now."""
