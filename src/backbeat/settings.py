"""From plain values, of YAML files or a command line say, to what the code takes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

import yaml
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


def conf_file(name: str) -> Path:
    """Return a file of conf/: in the package when it is installed, beside src/ in a checkout.

    Raises
    ------
    ConfigError
        If it is in neither.
    """
    here = Path(__file__).resolve().parent
    places = [folder / "conf" / name for folder in (here, here.parents[1])]
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        raise ConfigError(f"the package has no conf/{name}: install it again")
    return found


def layered(default: Path, variable: str, environment: Mapping[str, str]) -> dict[str, Any]:
    """Return the values of a YAML file, a file of one's own before it, variables before both.

    Parameters
    ----------
    default
        The file that has every setting.
    variable
        Of the environment: `NAME` names the file of one's own, `NAME__SETTING` and `NAME__SECTION__SETTING` are values.
    environment
        The variables.

    Raises
    ------
    ConfigError
        If a file cannot be read, or a setting is unknown.
    """
    values = _yaml(default)
    if named := environment.get(variable):
        _merge(values, _yaml(Path(named)), named)
    pattern = re.compile(rf"{re.escape(variable)}__([A-Z0-9_]+?)(?:__([A-Z0-9_]+))?")
    for name, text in environment.items():
        if match := pattern.fullmatch(name):
            section, key = match[1].lower(), (match[2] or "").lower()
            # A text stays one: a secret of digits, say.
            value = text if isinstance(_at(values, section, key), str) else _parsed(text, name)
            _merge(values, {section: {key: value}} if key else {section: value}, name)
    return values


def _at(values: dict[str, Any], section: str, key: str) -> Any:
    found = values.get(section)
    return found if not key else found.get(key) if isinstance(found, dict) else None


def _yaml(path: Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: the settings cannot be read: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: the settings are no mapping")
    return values


def _parsed(text: str, name: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        raise ConfigError(f"{name}: the value is not YAML") from None


def _merge(values: dict[str, Any], others: dict[str, Any], where: str) -> None:
    """Put others before values, section by section."""
    for name, other in others.items():
        if name not in values:
            raise ConfigError(f"{where}: there is no setting {name!r}; there are {', '.join(sorted(values))}")
        if isinstance(values[name], dict) and isinstance(other, dict):
            values[name] = {**values[name], **other}
        else:
            values[name] = other


def _refuse_unknown(cls: type, values: dict[str, Any]) -> None:
    types = get_type_hints(cls)
    known = {field.name for field in fields(cls)}
    for name, value in values.items():
        if name not in known:
            raise ConfigError(f"{cls.__name__} has no setting {name!r}; it has {', '.join(sorted(known))}")
        _refuse_unknown_within(types[name], value)


def _refuse_unknown_within(kind: Any, value: Any) -> None:
    """Look through a dataclass, or a list or mapping of some."""
    if is_dataclass(kind) and isinstance(kind, type):
        if isinstance(value, dict):
            _refuse_unknown(kind, value)
    elif get_origin(kind) in (list, tuple, dict):
        inside = next((one for one in get_args(kind) if is_dataclass(one)), None)
        for one in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
            _refuse_unknown_within(inside, one)


def above_zero(section: str, settings: object, *names: str) -> None:
    """Refuse settings, a dataclass, of which a number leaves nothing (ConfigError): those named, or all."""
    for name in names or vars(settings):
        if not getattr(settings, name) > 0:
            raise ConfigError(f"{section}.{name} must be above 0")


def listed(text: str) -> tuple[str, ...]:
    """Return the words of a list with commas, without blanks round them and without empty ones."""
    return tuple(word.strip() for word in text.split(",") if word.strip())
