"""Whether the gateway works, not just whether it runs: heartbeats, /healthz, /readyz and /metrics."""

from .heartbeat import record_canary

__all__ = ["record_canary"]
