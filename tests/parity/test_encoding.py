"""Cases 81 to 90: databases in EUC_JP on either side; and LATIN1 partitions."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.fix_plproxy import SOURCE, Plproxy
from tests.parity.cases import case
from tests.parity.compare import Both

HOME, PART = "test_enc_proxy", "test_enc_part"
TABLE = 'create table intl_data (id int4, "コラム" text)'
CLUSTER = "cluster 'testcluster'; run on 0;"
FUNCTIONS = (
    "create or replace function test_encoding() returns setof intl_data as"
    f" $$ {CLUSTER} select * from intl_data order by 1; $$ language plproxy",
    "create or replace function test_encoding2(text) returns setof intl_data as"
    f' $$ {CLUSTER} select 0 as id, $1 as "コラム"; $$ language plproxy',
    "create or replace function test_encoding3(text) returns setof intl_data as"
    f" $$ {CLUSTER} $$ language plproxy",
)
REMOTE = """
insert into intl_data values (1, 'リモートデータ');
grant all on intl_data to public;
create function test_encoding3(text) returns setof intl_data language plpgsql as $$
begin
    raise notice 'got: %', $1;
    return query select 3, $1;
end $$;
"""
DATA = "クライアント側のデータ"


@pytest.fixture(scope="module")
def proxy_encoding(request: pytest.FixtureRequest, plproxy: Plproxy) -> Iterator[str]:
    """A proxy database in this encoding, its partition in the other."""
    encoding = request.param
    plproxy.create_database(HOME, encoding)
    plproxy.create_database(PART, {"EUC_JP": "UTF8", "UTF8": "EUC_JP"}[encoding])
    plproxy.admin(HOME, SOURCE + TABLE)
    plproxy.admin(PART, TABLE + ";" + REMOTE)
    plproxy.cluster("testcluster", [PART], home=HOME)
    yield encoding
    plproxy.drop_database(HOME)
    plproxy.drop_database(PART)


@pytest.fixture
def japanese(both: Both, proxy_encoding: str) -> Iterator[Both]:
    second = both.another(home=HOME)
    second.create(*FUNCTIONS)
    yield second
    second.close()


def both_ways(first: int, about: dict[str, str]) -> pytest.MarkDecorator:
    """Parametrize with cases from this number on, for EUC_JP and again for UTF8."""
    params = []
    for proxy, start in (("EUC_JP", first), ("UTF8", first + 5)):
        for number, (value, title) in enumerate(about.items(), start):
            mark = case(number, f"proxy {proxy}: {title}")
            params.append(pytest.param(proxy, value, marks=mark, id=str(number)))
    return pytest.mark.parametrize(
        ("proxy_encoding", "value"), params, indirect=["proxy_encoding"]
    )


@both_ways(
    81,
    {
        "sjis": "a client in SJIS, SELECT",
        "euc_jp": "a client in EUC_JP, SELECT",
        "utf8": "a client in UTF8, SELECT",
    },
)
def test_encoding(japanese: Both, value: str) -> None:
    # Our own clients are Python's: their texts are Unicode, whatever the wire has.
    japanese.real.conn.execute(f"set client_encoding = '{value}'".encode())
    assert japanese.call("test_encoding") == [(1, "リモートデータ")]
    assert japanese.columns("test_encoding") == ("id", "コラム")


@both_ways(84, {DATA: "an argument and a quoted alias"})
def test_argument(japanese: Both, value: str) -> None:
    assert japanese.call("test_encoding2", value) == [(0, value)]
    assert japanese.columns("test_encoding2", value) == ("id", "コラム")


@both_ways(85, {DATA: "no SELECT; a notice with prefix"})
def test_notice(japanese: Both, value: str) -> None:
    assert japanese.call("test_encoding3", value) == [(3, value)]
    assert japanese.real.notices == [
        f"public.test_encoding3(1): [{PART}] REMOTE NOTICE: got: {value}"
    ]
    # Ours names the partition by its number, which the callback is given anyway.
    assert japanese.ours.notices == [
        f"public.test_encoding3(1): [partition 0] REMOTE NOTICE: got: {value}"
    ]


# A partition in LATIN1 holds part of Unicode only: right or refused, never wrong.

LATIN = "create table latin (t text); grant all on latin to public"


@pytest.fixture(scope="module")
def latin_part(plproxy: Plproxy) -> Iterator[str]:
    plproxy.create_database("latin_part", "LATIN1")
    plproxy.admin("latin_part", LATIN)
    plproxy.cluster("latin", ["latin_part"])
    yield "latin_part"
    plproxy.drop_database("latin_part")


@pytest.fixture
def latin(both: Both, latin_part: str) -> Both:
    both.create(
        "create or replace function put(t text) returns text as $$"
        " cluster 'latin'; run on hashtext(t);"
        " select latin_put(t); $$ language plproxy"
    )
    both.plproxy.admin(
        latin_part,
        "create or replace function latin_put(t text) returns text language sql as"
        " $$ insert into latin values (t) returning t $$",
    )
    return both


@pytest.mark.parametrize("text", ["plain", "ä ö ü ÿ", "naïve £"])
def test_latin(latin: Both, text: str) -> None:
    assert latin.call("put", text) == [(text,)]
    held = latin.plproxy.admin("latin_part", "select t from latin")
    assert held[-2:] == [(text,), (text,)]


@pytest.mark.parametrize("text", ["€", "クライアント", "ok 🐘"])
def test_beyond_latin(latin: Both, text: str) -> None:
    before = latin.plproxy.admin("latin_part", "select count(*) from latin")
    assert latin.fail("put", text).sqlstate == "22P05"
    assert latin.plproxy.admin("latin_part", "select count(*) from latin") == before
