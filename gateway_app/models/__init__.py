"""The gateway's rows, one module per aggregate; their constraints carry the invariants."""

from .channel import Channel
from .heartbeat import Heartbeat
from .inbox import InboundMessage
from .lane import Lane
from .listener import Listener
from .outbox import OutboundPart, SendGate
from .session import Session, TranscriptMessage
from .turn import Turn, TurnStep
from .webchat import WebConversation

__all__ = [
    "Channel",
    "Heartbeat",
    "InboundMessage",
    "Lane",
    "Listener",
    "OutboundPart",
    "SendGate",
    "Session",
    "TranscriptMessage",
    "Turn",
    "TurnStep",
    "WebConversation",
]
