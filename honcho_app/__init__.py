"""Honcho: memory that outlives a session, kept by a Honcho server and reached through its SDK."""
