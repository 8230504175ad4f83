"""What a parked turn asks a person: approvals of tool calls, and what they meant."""
