"""Words of JSON Schema (draft 2020-12) that the forms of results are written in."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

NUMBER: dict[str, Any] = {"type": "number"}
TEXT: dict[str, Any] = {"type": "string"}
SHARE: dict[str, Any] = {"type": "number", "minimum": 0, "maximum": 1}


def object_of(properties: dict[str, Any], optional: Collection[str] = ()) -> dict[str, Any]:
    """Return the schema of an object that has just these properties."""
    required = [name for name in properties if name not in optional]
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def nullable(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of what may also be null."""
    return {"anyOf": [schema, {"type": "null"}]}


def numbers(least: int, most: int | None = None) -> dict[str, Any]:
    """Return the schema of a list of so many numbers."""
    return {"type": "array", "items": NUMBER, "minItems": least, "maxItems": least if most is None else most}
