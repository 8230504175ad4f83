"""Honcho's filters: which rows a body's `filters` lets through."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any, TypeVar

from tests.peers.honcho.store import Refusal

Row = TypeVar("Row")

COLUMNS = {
    "message": ("workspace_id", "session_id", "peer_id", "token_count", "created_at", "metadata"),
    "conclusion": ("id", "session_id", "workspace_id", "observer_id", "observed_id", "level", "metadata"),
    "session": ("id", "created_at", "is_active", "workspace_id", "metadata"),
    "peer": ("id", "created_at", "workspace_id", "metadata"),
}
COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "gte": lambda found, wanted: found >= wanted,
    "lte": lambda found, wanted: found <= wanted,
    "gt": lambda found, wanted: found > wanted,
    "lt": lambda found, wanted: found < wanted,
    "ne": lambda found, wanted: found != wanted,
    "in": lambda found, wanted: found in wanted,
    "contains": lambda found, wanted: str(wanted) in str(found),
    "icontains": lambda found, wanted: str(wanted).lower() in str(found).lower(),
}


def filtered(rows: Iterable[Row], filters: dict[str, Any] | None, *, kind: str) -> list[Row]:
    """Raises Refusal where a filter is not one, as the real server does with each key that it does not know."""
    if not filters:
        return list(rows)
    check(filters, kind=kind)
    return [row for row in rows if matches(row, filters)]


def check(filters: Any, *, kind: str) -> None:
    if not isinstance(filters, dict):
        raise Refusal("Invalid filter configuration", status=422)
    for key, wanted in filters.items():
        if key in ("AND", "OR", "NOT"):
            if not isinstance(wanted, list):
                raise Refusal(f"{key} operator must contain a list", status=422)
            for each in wanted:
                check(each, kind=kind)
        elif key not in COLUMNS[kind]:
            raise Refusal(f"Column '{key}' does not exist or is not allowed for filtering", status=422)
        elif isinstance(wanted, dict) and key != "metadata":
            for operator in wanted:
                if operator not in COMPARISONS:
                    raise Refusal(f"Unsupported comparison operator: {operator}", status=422)


def matches(row: Any, filters: dict[str, Any]) -> bool:
    for key, wanted in filters.items():
        if key == "AND":
            fits = all(matches(row, each) for each in wanted)
        elif key == "OR":
            fits = any(matches(row, each) for each in wanted)
        elif key == "NOT":
            fits = not any(matches(row, each) for each in wanted)
        elif key == "metadata":
            fits = fits_metadata(getattr(row, "metadata", {}), wanted)
        else:
            fits = fits_value(getattr(row, key, "explicit"), wanted)
        if not fits:
            return False
    return True


def fits_value(found: Any, wanted: Any) -> bool:
    if wanted == "*":
        return True
    if isinstance(found, datetime):
        wanted = moments(wanted)
    if isinstance(wanted, dict):
        return all(compare(operator, found, value) for operator, value in wanted.items())
    if isinstance(wanted, list):
        return found in wanted
    return bool(found == wanted)


def fits_metadata(found: Any, wanted: Any) -> bool:
    """Containment, as of JSON; a value may be an object of comparisons."""
    if not isinstance(wanted, dict):
        return bool(found == wanted)
    if wanted and set(wanted) <= set(COMPARISONS):
        return found is not None and all(compare(operator, found, value) for operator, value in wanted.items())
    return isinstance(found, dict) and all(fits_metadata(found.get(key), value) for key, value in wanted.items())


def compare(operator: str, found: Any, wanted: Any) -> bool:
    try:
        return COMPARISONS[operator](found, wanted)
    except TypeError:
        return False


def moments(wanted: Any) -> Any:
    if isinstance(wanted, dict):
        return {operator: moments(value) for operator, value in wanted.items()}
    try:
        found = datetime.fromisoformat(str(wanted))
    except ValueError:
        raise Refusal(f"Invalid datetime value: {wanted}", status=422) from None
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found
