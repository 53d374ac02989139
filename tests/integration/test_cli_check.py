"""The command `check`: functions on real partitions, with what goes wrong with them."""

from __future__ import annotations

import pytest

from plproxy_py.ops.check.findings import PROBLEMS
from tests.fix_check import COUNT, ROLE, Desk
from tests.fix_cli import rows

GET_USER = "desk.get_user(text)"
LIST_USERS = "desk.list_users(int4)"
DROP_GET_USER = "DROP FUNCTION desk.get_user(text)"

# What is done to partition 1 and what is found there: statements, function, problem,
# SQLSTATE, words of the reason, words of the remedy, the mark in the matrix.
FAULTS = {
    "missing": (
        ["DROP FUNCTION desk.count_users()"],
        ("desk.count_users()", "missing", "42883"),
        "function desk.count_users() does not exist",
        "Create desk.count_users there",
        "✗",
    ),
    "no schema": (
        ["ALTER SCHEMA desk RENAME TO other_desk"],
        (GET_USER, "missing", "3F000"),
        'schema "desk" does not exist',
        "Create desk.get_user there",
        "✗",
    ),
    "narrower argument": (
        [
            "DROP FUNCTION desk.list_users(int4)",
            "CREATE FUNCTION desk.list_users(min_id int2) RETURNS SETOF text "
            "LANGUAGE sql AS 'SELECT NULL::text'",
        ],
        (LIST_USERS, "argument types", "42883"),
        "function desk.list_users(integer) does not exist",
        "has desk.list_users(smallint): declare min_id as int2",
        "✗",
    ),
    "a flag with a default": (
        [
            "CREATE FUNCTION desk.get_user(username text, flag bool DEFAULT false, "
            "OUT id int4, OUT email text) LANGUAGE sql AS $$ SELECT 1, 'x'::text $$",
        ],
        (GET_USER, "ambiguous", "42725"),
        "function desk.get_user(text) is not unique",
        "desk.get_user(text), desk.get_user(text,boolean): drop those",
        "✗",
    ),
    "a dropped OUT column": (
        [
            DROP_GET_USER,
            "CREATE FUNCTION desk.get_user(username text, OUT id int4) "
            "LANGUAGE sql STABLE AS 'SELECT 1'",
        ],
        (GET_USER, "OUT names", "42703"),
        'column "email" does not exist',
        "Declare the columns that it has, id integer, or",
        "✗",
    ),
    "no cast": (
        [
            DROP_GET_USER,
            "CREATE FUNCTION desk.get_user(username text, OUT id json, OUT email text) "
            "LANGUAGE sql STABLE AS $$ SELECT '1'::json, 'x'::text $$",
        ],
        (GET_USER, "OUT types", "42846"),
        "cannot cast type json to integer",
        "Declare the types that it has, id json, email text, or",
        "≠",
    ),
    "a wider OUT type": (
        [
            DROP_GET_USER,
            "CREATE FUNCTION desk.get_user(username text, OUT id int8, OUT email text) "
            "LANGUAGE sql STABLE AS $$ SELECT 1::int8, 'x'::text $$",
        ],
        (GET_USER, "OUT types", None),
        "id is declared int4 and is bigint",
        "Declare the types that it has",
        "≠",
    ),
    "a set": (
        [
            DROP_GET_USER,
            "CREATE FUNCTION desk.get_user(username text, OUT id int4, OUT email text) "
            "RETURNS SETOF record LANGUAGE sql STABLE AS $$ SELECT 1, 'x'::text $$",
        ],
        (GET_USER, "SETOF", None),
        "desk.get_user(text) returns a set, and one row is declared",
        "Declare RETURNS SETOF",
        "≠",
    ),
    "a scalar": (
        [
            "DROP FUNCTION desk.list_users(int4)",
            "CREATE FUNCTION desk.list_users(min_id int4) RETURNS text "
            "LANGUAGE sql AS $$ SELECT 'x'::text $$",
        ],
        (LIST_USERS, "SETOF", None),
        "one row, on partitions 0, 2-3 a set",
        "Create the function anew there as on partitions 0, 2-3",
        "≠",
    ),
    "volatility": (
        ["ALTER FUNCTION desk.get_user(text) VOLATILE"],
        (GET_USER, "volatility", None),
        "VOLATILE, on partitions 0, 2-3 STABLE",
        "Create the function anew",
        "≠",
    ),
    "another body": (
        [
            "CREATE OR REPLACE FUNCTION desk.count_users() RETURNS int8 LANGUAGE sql "
            "AS 'SELECT 2::int8'"
        ],
        ("desk.count_users()", "body", None),
        ", on partitions 0, 2-3 body ",
        "Create the function anew",
        "≠",
    ),
    "attributes": (
        ["ALTER FUNCTION desk.touch(text) SECURITY DEFINER SET search_path = desk"],
        ("desk.touch(text)", "attributes", None),
        "SECURITY DEFINER SET search_path=desk, on partitions 0, 2-3 no attributes",
        "Create the function anew",
        "≠",
    ),
    "no EXECUTE": (
        ["REVOKE EXECUTE ON FUNCTION desk.touch(text) FROM PUBLIC"],
        ("desk.touch(text)", "EXECUTE", None),
        f"the role {ROLE} has no right to EXECUTE",
        f"GRANT EXECUTE ON FUNCTION desk.touch(text) TO {ROLE};",
        "✗",
    ),
    "no USAGE": (
        [f"REVOKE USAGE ON SCHEMA desk FROM {ROLE}"],
        (GET_USER, "EXECUTE", "42501"),
        "permission denied for schema desk",
        "GRANT USAGE ON SCHEMA desk",
        "✗",
    ),
}


def test_nothing_is_found(desk: Desk) -> None:
    """Neither for a scalar declared as a set, nor for a record without columns."""
    lines = desk.table()
    assert lines[0].split() == ["desk:", "6", "functions", "0", "1", "2", "3"]
    assert [line.split() for line in lines[1:7]] == [
        [GET_USER, *"✓✓✓✓"],
        [LIST_USERS, *"✓✓✓✓"],
        ["desk.count_users()", *"✓✓✓✓"],
        ["desk.touch(text)", *"✓✓✓✓"],
        ["desk.anything(text)", *"✓✓✓✓"],
        ["desk.last()", *"···✓"],
    ]
    assert lines[7] == "✓ can be called  · not needed"
    assert lines[-1] == "All is well."
    assert desk.findings(code=0) == []
    functions = [row for row in desk.json() if row["row"] == "function"]
    assert functions[0]["verdicts"] == ["ok"] * COUNT
    assert functions[-1]["verdicts"] == [None, None, None, "ok"]


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_of_a_function(desk: Desk, name: str) -> None:
    statements, (function, problem, sqlstate), reason, remedy, mark = FAULTS[name]
    desk.execute(1, *statements)
    try:
        about, *found = (row for row in desk.json(code=1) if row["subject"] == function)
        lines = desk.table("desk", code=1)
    finally:
        desk.execute(1, "DROP SCHEMA IF EXISTS other_desk CASCADE")
    first = found[0]
    assert {row["partition"] for row in found} == {1}
    assert (first["problem"], first["sqlstate"]) == (problem, sqlstate)
    assert first["level"] == PROBLEMS[problem] == "fault"
    assert reason in first["reason"]
    assert remedy in first["remedy"]
    assert about["verdicts"] == ["ok", problem, "ok", "ok"]
    (line,) = (line for line in lines if line.startswith(f"{function} "))
    assert line.split() == [function, "✓", mark, "✓", "✓"]
    start = lines.index(f"fault: {function}, {problem}, partition 1")
    assert reason in lines[start + 1]
    assert lines[start + 2].startswith("  → ")
    assert remedy in lines[start + 2]
    assert lines[-1].endswith(("fault.", "faults."))


def test_other_functions_are_well_beside_a_failure(desk: Desk) -> None:
    desk.execute(0, DROP_GET_USER)
    desk.execute(2, DROP_GET_USER)
    assert [row["partition"] for row in desk.findings()] == [0, 2]
    assert f"fault: {GET_USER}, missing, partitions 0, 2" in desk.table(code=1)
    assert desk.verdicts(LIST_USERS) == ["ok"] * COUNT


def test_a_function_of_one_partition_is_missed_there_alone(desk: Desk) -> None:
    desk.execute(3, "DROP FUNCTION desk.last()")
    (found,) = desk.findings()
    assert (found["subject"], found["partition"]) == ("desk.last()", 3)


def test_what_a_bodys_select_lacks_is_postgresqls_verdict(desk: Desk) -> None:
    desk.configure(
        desk.owner,
        proxy="""CREATE FUNCTION desk.counted() RETURNS SETOF int8 LANGUAGE plproxy
        AS $$ CLUSTER 'desk'; RUN ON ALL; SELECT count(*) FROM desk.users; $$;""",
    )
    desk.execute(2, "DROP TABLE desk.users")
    (found,) = (row for row in desk.findings() if row["level"] == "fault")
    assert (found["problem"], found["sqlstate"]) == ("refused", "42P01")
    assert found["reason"] == '42P01 relation "desk.users" does not exist'
    assert found["partition"] == 2


def test_many_functions_that_are_well_are_counted(desk: Desk) -> None:
    more = "\n".join(
        f"CREATE FUNCTION desk.f{number}() RETURNS int4 LANGUAGE plproxy "
        "AS $$ CLUSTER 'desk'; RUN ON ANY; $$;"
        for number in range(30)
    )
    made = more.replace("plproxy", "sql").replace(
        "CLUSTER 'desk'; RUN ON ANY;", "SELECT 1"
    )
    desk.configure(proxy=more)
    for number in range(COUNT):
        desk.execute(number, made)
    desk.execute(1, "DROP FUNCTION desk.f7()")
    lines = desk.table(code=1)
    assert lines[0].startswith("desk: 30 functions")
    assert lines[1].split() == ["desk.f7()", *"✓✗✓✓"]
    assert lines[2] == "29 functions can be called wherever needed"


def test_many_partitions_share_columns(desk: Desk) -> None:
    """All of them are two databases: what is found there is said of each."""
    desk.execute(1, "DROP FUNCTION desk.count_users()")
    desk.configure(
        [
            f"{connstr} application_name=p{number}"
            for number in range(16)
            for connstr in desk.connstrs[:2]
        ]
    )
    lines = desk.table("--jobs", "8", code=1)
    title = "desk: 6 functions, 32 partitions"
    assert lines[0].split() == [*title.split(), "a", "b", "c"]
    assert lines[3].split() == ["desk.count_users()", "✓", "✗", "✗"]
    assert lines[6].split() == ["desk.last()", "·", "·", "✗"]
    assert lines[7] == f"a: partitions {', '.join(map(str, range(0, 32, 2)))}"
    assert lines[9] == "c: partition 3"


def test_entries_of_one_target_are_asked_once(desk: Desk) -> None:
    """As between 4 and 8 partitions; their faults are of both."""
    desk.execute(1, DROP_GET_USER)
    desk.configure([*desk.connstrs, *desk.connstrs])
    found = [row for row in desk.findings() if row["subject"] == GET_USER]
    assert [row["partition"] for row in found] == [1, 5]
    assert {row["problem"] for row in desk.findings()} == {"missing"}


def test_an_unknown_cluster_names_the_nearest(desk: Desk) -> None:
    result = desk.run("dusk", code=1)
    assert "did you mean 'desk'?" in result.stderr


def test_all_clusters_are_checked(desk: Desk) -> None:
    path = desk.folder / "plproxy.toml"
    other = f"[clusters.other]\npartitions = ['{desk.connstrs[0]}']\n"
    path.write_text(path.read_text() + other)
    assert {row["cluster"] for row in desk.json()} == {"desk", "other"}
    assert {row["cluster"] for row in desk.json("other")} == {"other"}
    assert any(line == "other: 0 functions to check" for line in desk.table())


def test_json_rows_have_the_same_keys(desk: Desk) -> None:
    desk.execute(1, DROP_GET_USER)
    found = rows(desk.run("--json", code=1))
    assert len({tuple(row) for row in found}) == 1
    assert {row["row"] for row in found} == {"function", "partition", "finding"}


def test_columns_of_a_row_type_are_asked_for_as_calls_do(desk: Desk) -> None:
    """Only the home database knows them: there the row type has two columns."""
    row_type = "CREATE TYPE desk.person AS (id int4{})"
    function = "CREATE FUNCTION desk.person(n int4) RETURNS desk.person LANGUAGE {}"
    for number in range(COUNT):
        desk.execute(number, row_type.format("" if number == 1 else ", email text"))
        desk.execute(number, function.format("sql") + " AS 'SELECT NULL::desk.person'")
    desk.configure(
        proxy=f"{function.format('plproxy')} AS $$ CLUSTER 'desk'; RUN ON ANY; $$;",
        before=f"home = '{desk.owner[0]}'",
    )
    (found,) = desk.findings()
    assert (found["partition"], found["problem"]) == (1, "OUT names")
    assert found["reason"] == '42703 column "email" does not exist'
