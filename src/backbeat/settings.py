"""From plain values, of YAML files or a command line say, to what the code takes."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import Any, TypeVar, get_type_hints

from pydantic import TypeAdapter, ValidationError

from backbeat.errors import ConfigError

T = TypeVar("T")


def read_settings(cls: type[T], values: dict[str, Any]) -> T:
    """Make `cls`, a dataclass, of plain values.

    Raises
    ------
    ConfigError
        If there is an entry that `cls` lacks, or one that it needs is missing or has the wrong type.
    """
    _refuse_unknown(cls, values)
    try:
        return TypeAdapter(cls).validate_python(values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(step) for step in first["loc"])
        raise ConfigError(f"{cls.__name__}.{where}: {first['msg']}") from None


def _refuse_unknown(cls: type, values: dict[str, Any]) -> None:
    types = get_type_hints(cls)
    known = {field.name for field in fields(cls)}
    for name, value in values.items():
        if name not in known:
            raise ConfigError(f"{cls.__name__} has no setting {name!r}; it has {', '.join(sorted(known))}")
        if is_dataclass(types[name]) and isinstance(types[name], type) and isinstance(value, dict):
            _refuse_unknown(types[name], value)


def listed(text: str) -> tuple[str, ...]:
    """Return the words of a list with commas, without blanks round them and without empty ones."""
    return tuple(word.strip() for word in text.split(",") if word.strip())
