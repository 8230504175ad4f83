"""Sends what a chat's delivery lane holds, part by part, in order."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace

import aiohttp
from django.conf import settings
from django.db import transaction

from gateway_app import lanes, metrics, sealing
from gateway_app.lanes import Claim, LaneLost
from gateway_app.models.lane import LaneKind
from gateway_app.platforms import registry
from gateway_app.platforms.base import MessageGone, OutgoingPart, Platform, SendError, UnknownOutcome
from gateway_app.worker.database import in_database, record_in_database
from gateway_app.worker.leases import keeper

from . import enclosure, outbox
from .outbox import Head

log = logging.getLogger(__name__)


async def deliver_lane(*, key: str, http: aiohttp.ClientSession) -> None:
    """Claims the chat's lane and sends what is due in it; nothing where another worker has it."""
    claim, head = await in_database(_claim_and_take, key=key)
    if claim and head:
        await drain(claim, head, http=http)


def _claim_and_take(*, key: str) -> tuple[Claim | None, Head | None]:
    with transaction.atomic():
        claim = lanes.claim(kind=LaneKind.DELIVERY, key=key)
        return claim, outbox.take_next(claim) if claim else None


async def drain(claim: Claim, head: Head | None, *, http: aiohttp.ClientSession) -> None:
    """Sends `head` and all that follows it in a lane that the caller has claimed. Never raises.

    Where the lane is lost or the database is out of reach, what is not recorded is left to whoever claims next.
    """
    try:
        async with keeper.keeping(claim):
            while head and claim.is_trusted():
                head = await _send(claim, head, http=http)
    except LaneLost:
        metrics.LANES_LOST.inc()
        log.warning("Lost the delivery lane %s while sending; another worker goes on with it.", claim.key)
    except Exception:
        log.exception("Delivery lane %s was left; it is taken up again when its lease ends.", claim.key)


async def _send(claim: Claim, head: Head, *, http: aiohttp.ClientSession) -> Head | None:
    """One attempt, its record, and the next part to send."""
    part = replace(head.part, is_ours=claim.is_trusted)
    if head.is_sealed:
        try:
            part = replace(part, text=sealing.unseal(part.text))
        except sealing.CannotUnseal as error:
            log.error("Part %s to %s cannot be sent: %s.", part.part_id, head.platform, error)
            return await record_in_database(_record_failed, claim, head, reason=str(error), permanent=True)
    try:
        async with enclosure.with_file(part) as part:
            async with asyncio.timeout(settings.SEND_TIMEOUT_SECONDS + enclosure.extra_seconds(part)):
                message_id, removed = await _hand_over(registry.get(head.platform), part, http=http)
    except SendError as error:
        reason = _words(str(error), head, part)
        log.warning("%s did not take part %s (attempt %s): %s", head.platform, part.part_id, part.attempts, reason)
        return await record_in_database(
            _record_failed, claim, head, reason=reason, permanent=error.permanent, retry_after=error.retry_after,
            closes_account=error.closes_account,
        )  # fmt: skip
    except (UnknownOutcome, TimeoutError) as error:
        reason = _words(str(error), head, part) or f"no answer within {settings.SEND_TIMEOUT_SECONDS:g} s"
        log.warning(
            "%s part %s (attempt %s) has an unknown outcome: %s", head.platform, part.part_id, part.attempts, reason
        )
        return await record_in_database(_record_failed, claim, head, reason=reason, unknown=True)
    except Exception as error:
        # A traceback ends with the error's own words, which may repeat the text.
        log.error("Sending part %s to %s failed.", part.part_id, head.platform, exc_info=not head.is_sealed)
        return await record_in_database(
            _record_failed, claim, head, reason=f"{type(error).__name__} in the adapter", unknown=True
        )
    following = await record_in_database(outbox.finish_sent, claim, head, platform_message_id=message_id)
    metrics.DELIVERIES.labels(platform=head.platform, outcome="sent").inc()
    if removed:
        await registry.get(head.platform).delete(part, message_id=removed, http=http)
    return following


async def _hand_over(platform: Platform, part: OutgoingPart, *, http: aiohttp.ClientSession) -> tuple[str, str]:
    """The platform's id of the message that shows the part, and that of one that is to be deleted now.

    A message whose place the part cannot take any more, as somebody has deleted it, is no reason not to send it.
    """
    if not part.replaces or not platform.can_edit:
        return await platform.send(part, http=http), part.removes if platform.can_edit else ""
    try:
        await platform.edit(part, http=http)
    except MessageGone as error:
        log.info("Part %s is sent anew: %s", part.part_id, error)
        return await platform.send(part, http=http), part.replaces
    return part.replaces, ""


def _words(words: str, head: Head, part: OutgoingPart) -> str:
    """An error's words; a server may repeat in them what it was sent."""
    return sealing.redacted(words, secret=part.text) if head.is_sealed else words


def _record_failed(
    claim: Claim,
    head: Head,
    *,
    reason: str,
    permanent: bool = False,
    retry_after: float | None = None,
    closes_account: bool = False,
    unknown: bool = False,
) -> Head | None:
    with lanes.fenced(claim):
        lanes.hold(claim)
        outbox.record_failed(
            head, reason=reason, permanent=permanent, retry_after=retry_after, closes_account=closes_account,
            unknown=unknown,
        )  # fmt: skip
        return outbox.take_next(claim)
