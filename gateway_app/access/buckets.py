"""Token buckets that the whole fleet shares: in Redis, and in a table while Redis is away.

A bucket holds `burst` tokens at most and gets `per_minute` new ones a minute; a message takes one from each of its
buckets, or none from any. Both places reckon with their own server's clock. One that jumps forward fills buckets
early; one that jumps back adds nothing and takes nothing.
"""

from __future__ import annotations

import functools
import logging
import threading
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from django.db import connection
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.retry import Retry

from gateway_app import clock
from gateway_app.models import RateBucket

log = logging.getLogger(__name__)

ANSWER_SECONDS = 0.2
"""Redis on the same network answers within a millisecond; messages must not wait for one that hangs."""
PAUSE_SECONDS = 5.0
"""After a failure Redis is left alone for so long, and the table serves."""

TABLE = RateBucket._meta.db_table


class BucketKind(StrEnum):
    """Begins the bucket's key; no two kinds begin with the same letter."""

    CHAT = "chat"
    SENDER = "sender"


@dataclass(frozen=True, slots=True)
class Rate:
    """How fast a kind of bucket fills, and how many tokens it holds; both at least 1."""

    per_minute: int
    burst: int

    @property
    def seconds_to_fill(self) -> float:
        return self.burst * 60 / self.per_minute

    def wait(self, level: float) -> float:
        """Seconds until a bucket with `level` tokens has a whole one."""
        return max(0.0, (1 - level) * 60 / self.per_minute)


@dataclass(frozen=True, slots=True)
class Bucket:
    kind: BucketKind
    name: str
    """A digest of whose bucket it is; ids may be long and hold anything."""

    @property
    def key(self) -> str:
        return f"{self.kind.value}:{self.name}"


Rates = dict[BucketKind, Rate]
Demand = tuple[Bucket, ...]
"""The buckets from which one message takes a token each; empty where nothing limits it."""


class RedisAway(Exception):
    """Redis cannot be asked now; its text names the kind of failure."""


TAKING = """
local time = redis.call('TIME')
local now = time[1] * 1000 + time[2] / 1000
local levels, rates, bursts = {}, {}, {}
for place, key in ipairs(KEYS) do
  rates[place] = ARGV[2 * place - 1] / 60000
  bursts[place] = tonumber(ARGV[2 * place])
  levels[place] = bursts[place]
  local kept = redis.call('GET', key)
  if kept then
    local tokens, at = string.match(kept, '^(%S+) (%S+)$')
    levels[place] = math.min(bursts[place], tokens + math.max(0, now - at) * rates[place])
  end
end
local waits, argument = {}, 2 * #KEYS + 1
while ARGV[argument] do
  local wait, places = 0, {}
  for place in string.gmatch(ARGV[argument], '%d+') do
    place = tonumber(place)
    places[#places + 1] = place
    if levels[place] < 1 then
      wait = math.max(wait, 1, math.ceil((1 - levels[place]) / rates[place]))
    end
  end
  if wait == 0 then
    for _, place in ipairs(places) do levels[place] = levels[place] - 1 end
  end
  waits[#waits + 1] = wait
  argument = argument + 1
end
for place, key in ipairs(KEYS) do
  local missing = bursts[place] - levels[place]
  if missing > 0 then
    local milliseconds = math.max(1, math.ceil(missing / rates[place]))
    redis.call('SET', key, string.format('%.6f %.3f', levels[place], now), 'PX', string.format('%d', milliseconds))
  end
end
return waits
"""
"""Keys: buckets. Arguments: rate and burst of each, then for each message the places of its buckets. Yields the
milliseconds until each message could be taken, 0 where it was. A bucket that is full again expires."""

GIVING_BACK = """
for place, key in ipairs(KEYS) do
  local kept = redis.call('GET', key)
  if kept then
    local tokens, at = string.match(kept, '^(%S+) (%S+)$')
    redis.call('SET', key, string.format('%.6f %s', tokens + ARGV[place], at), 'KEEPTTL')
  end
end
"""
"""Keys: buckets. Arguments: tokens for each. What is above the burst is cut off at the next taking."""


class RedisBuckets:
    """The buckets in one Redis server. After a failure it is asked again only when PAUSE_SECONDS are over."""

    def __init__(self, address: str, *, prefix: str) -> None:
        # A retry is for a connection that Redis has closed since its last use.
        retry = Retry(NoBackoff(), 1, supported_errors=(RedisConnectionError,))
        self._redis = Redis.from_url(
            address, socket_connect_timeout=ANSWER_SECONDS, socket_timeout=ANSWER_SECONDS, retry=retry
        )
        self._taking = self._redis.register_script(TAKING)
        self._giving_back = self._redis.register_script(GIVING_BACK)
        self._prefix = f"{prefix}limit:"
        self._lock = threading.Lock()
        self._is_away = False
        self._ask_at = 0.0

    def take(self, demands: Sequence[Demand], rates: Rates) -> list[float]:
        """Takes the tokens of each message in its order; yields the seconds until it could be taken, 0 where it was.

        Raises `RedisAway`; tokens may have been taken all the same.
        """
        self._check()
        places = {bucket: place for place, bucket in enumerate(_buckets(demands), start=1)}
        arguments: list[str | int] = []
        for bucket in places:
            arguments += [rates[bucket.kind].per_minute, rates[bucket.kind].burst]
        arguments += [" ".join([str(places[bucket]) for bucket in demand]) for demand in demands]
        try:
            waits = self._taking([self._prefix + bucket.key for bucket in places], arguments)
        except (RedisError, OSError) as error:
            raise self._left_alone(error) from error
        if self._is_away:
            self._is_away = False
            log.info("Redis keeps the limits again.")
        return [wait / 1000 for wait in waits]

    def give_back(self, tokens: Counter[Bucket]) -> None:
        """Undoes a taking, if Redis can be asked."""
        try:
            self._check()
            self._giving_back([self._prefix + bucket.key for bucket in tokens], list(tokens.values()))
        except (RedisError, OSError) as error:
            self._left_alone(error)
        except RedisAway:
            return

    def close(self) -> None:
        self._redis.close()

    def _check(self) -> None:
        """Raises `RedisAway` unless this call is one that may ask. While Redis is away that is one in PAUSE_SECONDS."""
        if not self._is_away:
            return
        with self._lock:
            if self._is_away and time.monotonic() < self._ask_at:
                raise RedisAway("it failed a moment ago")
            self._ask_at = time.monotonic() + PAUSE_SECONDS

    def _left_alone(self, error: Exception) -> RedisAway:
        with self._lock:
            if not self._is_away:
                log.warning(
                    "Redis does not keep the limits (%s); the database does, until it is back.", type(error).__name__
                )
            self._is_away = True
            self._ask_at = time.monotonic() + PAUSE_SECONDS
        return RedisAway(type(error).__name__)


@functools.lru_cache(maxsize=4)
def redis_buckets(address: str, *, prefix: str) -> RedisBuckets:
    """This process's buckets in the Redis server at `address`. Connects at the first use."""
    return RedisBuckets(address, prefix=prefix)


def take_from_table(demands: Sequence[Demand], rates: Rates) -> list[float]:
    """As `RedisBuckets.take()`, from the table. Must run in a transaction, before lanes are put into.

    Every bucket's row is charged in one statement, in the keys' order so that batches never wait for each other in a
    circle, and stays locked until the transaction ends. A second statement gives back what refused messages left.
    """
    asked = Counter(bucket for demand in demands for bucket in demand)
    buckets = {bucket.key: bucket for bucket in sorted(asked, key=lambda bucket: bucket.key)}
    if not buckets:
        return [0.0] * len(demands)
    values = [(key, rates[bucket.kind].burst - asked[bucket]) for key, bucket in buckets.items()]
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {TABLE} (key, tokens, filled_at) VALUES"
            f" {', '.join([f'(%s, %s, {clock.now()})'] * len(values))}"
            f" ON CONFLICT (key) DO UPDATE SET tokens = {_refilled(rates)} - {_by_kind(rates, 'burst')}"
            f" + excluded.tokens, filled_at = {clock.now()} RETURNING key, tokens",
            [value for row in values for value in row],
        )
        levels = {buckets[key]: tokens + asked[buckets[key]] for key, tokens in cursor.fetchall()}
    waits = [_taken(demand, levels, rates) for demand in demands]
    taken = Counter(bucket for demand, wait in zip(demands, waits, strict=True) if not wait for bucket in demand)
    give_back_to_table(asked - taken)
    return waits


def _taken(demand: Demand, levels: dict[Bucket, float], rates: Rates) -> float:
    wait = max((rates[bucket.kind].wait(levels[bucket]) for bucket in demand), default=0.0)
    if not wait:
        for bucket in demand:
            levels[bucket] -= 1
    return wait


def give_back_to_table(tokens: Counter[Bucket]) -> None:
    """Undoes a part of a taking; must run in the same transaction, which holds the rows."""
    if not tokens:
        return
    with connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE {TABLE} SET tokens = tokens + CASE key {'WHEN %s THEN %s ' * len(tokens)}ELSE 0 END"
            f" WHERE key IN ({', '.join(['%s'] * len(tokens))})",
            [
                *[value for bucket, count in tokens.items() for value in (bucket.key, count)],
                *[bucket.key for bucket in tokens],
            ],
        )


def _refilled(rates: Rates) -> str:
    """SQL for the tokens of a row now."""
    if connection.vendor == "sqlite":
        least, most = "min", "max"
        # Its dates are whole milliseconds; days as floating numbers are a little off.
        seconds = f"(round((julianday({clock.now()}) - julianday({TABLE}.filled_at)) * 86400000) / 1000.0)"
    else:
        least, most = "least", "greatest"
        seconds = f"extract(epoch FROM {clock.now()} - {TABLE}.filled_at)"
    gained = f"{most}(0, {seconds}) * {_by_kind(rates, 'per_minute')} / 60.0"
    return f"{least}({_by_kind(rates, 'burst')}, {TABLE}.tokens + {gained})"


def _by_kind(rates: Rates, name: str) -> str:
    """SQL for what a rate says of a row's kind, which the key's first letter tells."""
    cases = " ".join(f"WHEN '{kind.value[0]}' THEN {int(getattr(rate, name))}" for kind, rate in rates.items())
    return f"(CASE substr({TABLE}.key, 1, 1) {cases} END)"


def _buckets(demands: Iterable[Demand]) -> dict[Bucket, None]:
    return dict.fromkeys(bucket for demand in demands for bucket in demand)
