"""Whether a Python hint fits an SQL type that somebody else declared.

A hint stands for one SQL type, the declared one may be another of its family: ``str``
fits varchar, ``int`` fits int2. What loses something does not fit, unless it is said
with Annotated: ``float`` for numeric, ``datetime`` for a timestamp without time zone.
Types that no hint stands for (inet, an enum of one's own) fit any.
"""

from __future__ import annotations

from plproxy_py.errors import SignatureError
from plproxy_py.pgtypes import PgType

_FAMILIES = [
    ("text", "varchar", "bpchar", "name", '"char"'),
    ("int8", "int4", "int2", "oid"),
    ("float8", "float4"),
    ("numeric",),
    ("bool",),
    ("bytea",),
    ("date",),
    ("time", "timetz"),
    ("timestamptz",),
    ("timestamp",),
    ("interval",),
    ("uuid",),
]
_FAMILY = {name: family[0] for family in _FAMILIES for name in family}
_JSON = ("json", "jsonb")
# A hint that stands for the one, for a declared other: what to write.
_REMEDIES = {
    ("timestamptz", "timestamp"): "a datetime without time zone is a Timestamp",
    ("timestamp", "timestamptz"): "a datetime with time zone is a plain datetime",
    ("float8", "numeric"): (
        'if digits may be lost, write Annotated[float, "numeric"]; if not, Decimal'
    ),
}


def check_fit(hinted: PgType, declared: PgType, where: str) -> None:
    """Raise `SignatureError`, beginning with ``where``, if the hint does not fit."""
    if declared.name in _JSON and not declared.is_array:
        return  # any Python value may be JSON
    family = _FAMILY.get(declared.name)
    if family is None and declared.name not in _JSON:
        return
    fits = (
        hinted.is_array == declared.is_array
        and _FAMILY.get(hinted.name, hinted.name) == (family or declared.name)
    ) or (hinted.name in _JSON and declared.name in _JSON)
    if not fits:
        remedy = _REMEDIES.get((hinted.name, declared.name))
        raise SignatureError(
            f"{where}: the hint stands for {hinted.cast}, the signature has "
            f"{declared.cast}{f' ({remedy})' if remedy else ''}"
        )
