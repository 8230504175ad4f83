"""A server's JSON Schema as the agent offers it: what models' servers take, and no more than is safe to check against.

References are put in their place, within bounds: not every model's server follows them, and a few lines of references
to references unfold to more than anybody can check. Patterns are dropped: a hostile one would hold up the whole worker
while the model's arguments are matched against it, and some models' servers refuse them.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError

DEEPEST = 10
"""Levels that are kept; below, anything goes."""
MOST_NODES = 1_000
"""Schemas within a schema. The largest tools of public servers have about 200."""
LARGEST_CHARS = 20_000
"""Of a schema as JSON; it goes along with every request to the model."""
LONGEST_DESCRIPTION = 500
ANYTHING: dict[str, Any] = {"type": "object", "properties": {}}
"""Stands for a schema that cannot be offered: the server checks the arguments itself."""
PLAIN = (
    "type", "enum", "const", "default", "format", "title", "minimum", "maximum", "exclusiveMinimum",
    "exclusiveMaximum", "multipleOf", "minLength", "maxLength", "minItems", "maxItems", "required",
)  # fmt: skip
"""Keywords that are kept as they are."""
ONE = ("items", "additionalProperties", "not")
MANY = ("anyOf", "oneOf", "allOf")


class _TooLarge(Exception):
    pass


def offered(schema: Mapping[str, Any]) -> dict[str, Any]:
    """`schema` of a tool's arguments, cleaned, with an object at its root."""
    try:
        found = _Cleaner(schema).clean(schema)
    except (_TooLarge, RecursionError):
        return copy.deepcopy(ANYTHING)
    # At the root models' servers take nothing but an object's properties.
    kept = {name: found[name] for name in ("title", "description", "required", "additionalProperties") if name in found}
    root = {"type": "object", "properties": found.get("properties", {}), **kept}
    try:
        Draft202012Validator.check_schema(root)
        size = len(json.dumps(root, allow_nan=False))
    except (SchemaError, RecursionError, TypeError, ValueError):
        return copy.deepcopy(ANYTHING)
    return root if size <= LARGEST_CHARS else copy.deepcopy(ANYTHING)


class _Cleaner:
    def __init__(self, root: Mapping[str, Any]) -> None:
        self._root = root
        self._nodes = 0

    def clean(self, schema: Any, depth: int = 0) -> Any:
        """A copy of `schema` that has only what is known here."""
        self._nodes += 1
        if self._nodes > MOST_NODES:
            raise _TooLarge
        schema = self._followed(schema)
        if depth > DEEPEST or not isinstance(schema, Mapping):
            return {}
        found: dict[str, Any] = {name: schema[name] for name in PLAIN if name in schema}
        if isinstance(text := schema.get("description"), str):
            found["description"] = text[:LONGEST_DESCRIPTION]
        if isinstance(properties := schema.get("properties"), Mapping):
            found["properties"] = {str(name): self.clean(item, depth + 1) for name, item in properties.items()}
        for name in ONE:
            if isinstance(item := schema.get(name), bool):
                found |= {} if name == "items" else {name: item}
            elif isinstance(item, Mapping):
                found[name] = self.clean(item, depth + 1)
        for name in MANY:
            if isinstance(items := schema.get(name), list) and items:
                found[name] = [self.clean(item, depth + 1) for item in items]
        kinds = schema.get("type")
        if "array" in (kinds if isinstance(kinds, list) else [kinds]):
            found.setdefault("items", {})  # without it some refuse the request
        return found

    def _followed(self, schema: Any) -> Any:
        for _ in range(DEEPEST):
            reference = schema.get("$ref") if isinstance(schema, Mapping) else None
            if not isinstance(reference, str):
                return schema
            beside = {name: item for name, item in schema.items() if name != "$ref"}
            schema = self._target(reference)
            if beside and isinstance(schema, Mapping):
                schema = {**schema, **beside}
        return {}

    def _target(self, reference: str) -> Any:
        """What is meant within the same document; nothing is fetched from elsewhere."""
        if not reference.startswith("#"):
            return {}
        found: Any = self._root
        for name in filter(None, reference[1:].split("/")):
            key = name.replace("~1", "/").replace("~0", "~")
            found = found.get(key) if isinstance(found, Mapping) else None
        return found
