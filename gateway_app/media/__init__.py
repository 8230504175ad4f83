"""Files that people and the agent send each other: kept outside of the database, told by their first bytes, and let go
of after a while.
"""
