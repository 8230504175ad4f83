"""The gateway's rows, one module per aggregate; their constraints carry the invariants."""

from .access import AccessRule, AccessState
from .audit import AuditEntry
from .channel import Channel
from .compression import Compression
from .flush import FlushStep, MemoryFlush
from .heartbeat import Heartbeat
from .home import HomeChannel
from .inbox import InboundMessage
from .lane import Lane
from .listener import Listener
from .media import MediaFile, VoiceChoice
from .memory import MemoryNote
from .outbox import OutboundPart, SendGate
from .pairing import PairingGuard, PairingRequest
from .person import Person
from .question import Question, ToolPermission
from .rate import RateBucket
from .session import Session, TranscriptMessage, Undo
from .todo import TodoList
from .tool_output import ToolOutput
from .turn import Turn, TurnStep
from .webchat import WebConversation

__all__ = [
    "AccessRule",
    "AccessState",
    "AuditEntry",
    "Channel",
    "Compression",
    "FlushStep",
    "Heartbeat",
    "HomeChannel",
    "InboundMessage",
    "Lane",
    "Listener",
    "MediaFile",
    "MemoryFlush",
    "MemoryNote",
    "OutboundPart",
    "PairingGuard",
    "PairingRequest",
    "Person",
    "Question",
    "RateBucket",
    "SendGate",
    "Session",
    "TodoList",
    "ToolOutput",
    "ToolPermission",
    "TranscriptMessage",
    "Turn",
    "TurnStep",
    "Undo",
    "VoiceChoice",
    "WebConversation",
]
