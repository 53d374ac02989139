"""Sets of definitions, one after another: all of one or nothing of it is in force."""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from plproxy_py._catalog import Catalog, Entry
from plproxy_py.errors import DeclarationError, SignatureError
from plproxy_py.hints import read_hints

NAMES = ["f", "g", "h"]


def f(key: str) -> str: ...
def g(key: str) -> str: ...
def h(key: str) -> str: ...


def text(name: str, cluster: int, result: str) -> str:
    return (
        f"CREATE FUNCTION {name}(i text) RETURNS {result} LANGUAGE plproxy AS "
        f"$$ CLUSTER '{cluster}'; $$;"
    )


# Name, cluster, and what it returns: a face takes "text" alone.
_definitions = st.lists(
    st.tuples(
        st.sampled_from(NAMES),
        st.integers(0, 9),
        st.sampled_from(["text"] * 5 + ["setof text", "nonsense nonsense"]),
    ),
    max_size=4,
)
# Functions are compiled at each step: few steps say enough.
SOME = settings(max_examples=25, stateful_step_count=12)


class Definitions(RuleBasedStateMachine):
    """A catalog beside a model: by name the cluster, what is typed, what was made."""

    def __init__(self) -> None:
        super().__init__()
        self.catalog = Catalog({})
        self.clusters: dict[str, str] = {}
        self.faces: list[tuple[str, Entry]] = []
        self.handles: list[tuple[str, Entry]] = []

    @rule(found=_definitions)
    def replace(self, found: list[tuple[str, int, str]]) -> None:
        faced = {name for name, _ in self.faces}
        fits = all(
            result == "text" or (result == "setof text" and name not in faced)
            for name, _, result in found
        )
        try:
            functions = [
                function
                for name, cluster, result in found
                for function in self.catalog.read(text(name, cluster, result))
            ]
            entries = self.catalog.replace("file", functions)
        except DeclarationError:
            assert not fits
            return
        assert fits
        self.clusters = {name: str(cluster) for name, cluster, _ in found}
        self.handles += zip(self.clusters, entries, strict=True)

    @rule(python=st.sampled_from([f, g, h]))
    def face(self, python: Any) -> None:
        name = python.__name__
        hints = read_hints(python, {}, typed=False)
        try:
            compiled = self.catalog.face(self.catalog.find(name).current(), hints)
        except SignatureError:
            return
        self.faces.append((name, self.catalog.add(compiled, hints, wraps=python)))

    @invariant()
    def only_what_is_defined_is_found(self) -> None:
        keys = {f"public.{name}(text)" for name in self.clusters}
        assert set(self.catalog.entries) == keys

    @invariant()
    def all_who_follow_agree(self) -> None:
        for name, entry in self.faces + self.handles:
            if name in self.clusters:
                assert entry.current().cluster == self.clusters[name]
            else:
                assert entry.gone
        for name, entry in self.faces:
            assert name not in self.clusters or entry.current().names == ("key",)


TestDefinitions = Definitions.TestCase
TestDefinitions.settings = SOME
