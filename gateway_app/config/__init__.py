"""The configuration: one schema, read from the environment and from files, and taken up again where those change."""
