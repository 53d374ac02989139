"""A cluster to look at: real partitions, a thousand users, and what happened to them.

The partitions are databases of one embedded server. What runs on them stands in
``sql/demo.sql``, the proxy functions in ``sql/demo_plproxy.sql`` and one, in Python,
here. The demo goes by the public API and a config file, as an application does.
"""

from __future__ import annotations

import inspect
import json
import shlex
import textwrap
import threading
import time
from contextlib import ExitStack, closing
from importlib import metadata
from pathlib import Path

import psycopg
from psycopg.conninfo import conninfo_to_dict
from rich.console import Console

from plproxy_py._embedded import Server
from plproxy_py.cli import render
from plproxy_py.errors import ConfigError
from plproxy_py.proxycall import ProxyCall
from plproxy_py.router import Router

PARTITIONS = ["part00", "part01", "part02", "part03"]
NAMES = """
    alice bob carol dave eve frank grace heidi ivan judy
    mallory marko mia olivia peggy rupert sven trent victor walter
""".split()
USERS = [f"{name}{number or ''}" for number in range(50) for name in NAMES]
DOMAINS = ["example.com", "example.net", "example.org"]


def run_demo(*, keep: bool) -> None:
    """Run the demo, results on stdout and progress on stderr.

    ``keep``: wait for Ctrl-C at the end. However it ends, the server and its files
    are gone then. Raise `EmbeddedError` where no PostgreSQL can be started.
    """
    out = render.console()
    started = time.monotonic()
    with ExitStack() as stack:
        with render.progress("Starting PostgreSQL"):
            server = stack.enter_context(Server())
            config = deploy(server)
        router = stack.enter_context(Router.from_config(config))
        show(out, router)
        if keep:
            invite(out, config)
            threading.Event().wait()
    seconds = time.monotonic() - started
    say(out, f"Done in {seconds:.1f} s. The server is stopped, nothing is left behind.")


def deploy(server: Server) -> Path:
    """Make the partitions and what runs on them; return a config file's path."""
    server.create_databases(PARTITIONS)
    script = sql_file("demo.sql").read_bytes()
    for name in PARTITIONS:
        # Not the connection's own block, which after Ctrl-C tries to roll back.
        with closing(psycopg.connect(server.connstr(name), autocommit=True)) as conn:
            conn.execute(script)
    connection = conninfo_to_dict(server.connstr())
    del connection["dbname"]
    pairs = ", ".join(f"{name} = {toml(value)}" for name, value in connection.items())
    config = server.directory / "plproxy.toml"
    config.write_text(
        f"functions = {toml([str(sql_file('demo_plproxy.sql'))])}\n\n"
        "[clusters.demo]\n"
        f"partitions = {toml([f'dbname={name}' for name in PARTITIONS])}\n"
        f"connection = {{ {pairs} }}\n",
        encoding="utf-8",
    )
    return config


def toml(value: object) -> str:
    """Return a string or a list as TOML."""
    # JSON's strings and lists are TOML's, but for its pairs of surrogates.
    return json.dumps(value, ensure_ascii=False)


def sql_file(name: str) -> Path:
    """Return the path of a file in ``sql/``: of the checkout, or as it was installed.

    Raise `ConfigError` if there is none.
    """
    path = Path(__file__).parents[1] / "sql" / name
    if path.exists():
        return path
    # The installer knows: sys.prefix is not where pip's --user and --target put it.
    for file in metadata.files("plproxy-py") or []:
        if file.match(f"share/plproxy_py/sql/{name}"):
            return Path(file.locate()).resolve()
    raise ConfigError(f"sql/{name} was not installed with the package")


def declare(router: Router) -> ProxyCall[[str], str | None]:
    """Declare the function of which the demo shows the source."""

    @router.proxy(cluster="demo", run_on="hashtext(username)")
    def get_email(username: str) -> str | None: ...

    return get_email


def show(out: Console, router: Router) -> None:
    """Use the cluster and say what happens."""
    get_email = declare(router)
    get_user = router.functions["public.get_user(text)"]
    ((version,),) = router.execute("demo", "SHOW server_version", run_on=0)[0]
    number = version.split()[0]
    out.print(f"plproxy demo: PostgreSQL {number} with 4 partitions", style="bold")
    say(out, "One of the functions in sql/demo_plproxy.sql, as PL/Proxy writes them:")
    quote(out, statement("get_user"))
    say(out, "And one declared in Python:")
    quote(out, inspect.getsource(inspect.unwrap(get_email)))

    seconds = create_users(router)
    done = f"{len(USERS):,} users created by routed calls, {len(USERS) / seconds:,.0f}"
    say(out, f"{done} a second. RUN ON ALL counts them:")
    counts = router.call("count_users")
    most = max(count.users for count in counts)
    for database, users in counts:
        quote(out, f"{database}  {bar(users / most)}  {users}")

    say(out, "Read back, each from the one partition that has the user:")
    quote(out, f"get_user('marko')   {get_user('marko')}")
    quote(out, f"get_email('sven7')  {get_email('sven7')!r}")
    quote(out, f"get_email('zoe')    {get_email('zoe')!r}")
    started = time.perf_counter()
    found = [row.username for row in router.call("search_users", "mia1")]
    spent = (time.perf_counter() - started) * 1000
    say(out, f"search_users('mia1'), RUN ON ALL, four partitions in {spent:.1f} ms:")
    quote(out, " ".join(found))

    plan = get_user.plan("marko")
    (hash,), (partition,) = plan.hashes, plan.partitions
    place = PARTITIONS[partition]
    say(out, "Where get_user('marko') runs, and the SQL that is sent there:")
    quote(out, f"hashtext('marko') = {hash}, and {hash} & 3 = {partition}: {place}")
    quote(out, plan.sql)


def create_users(router: Router) -> float:
    """Create all users, one routed call each; return the seconds it took."""
    create_user = router.functions["public.create_user(text,text)"]
    started = time.perf_counter()
    with render.progress(f"Creating {len(USERS):,} users", len(USERS)) as advance:
        for number, username in enumerate(USERS):
            create_user(username, f"{username}@{DOMAINS[number % len(DOMAINS)]}")
            advance()
    return time.perf_counter() - started


def invite(out: Console, config: Path) -> None:
    """Say how to use the cluster while it is up."""
    say(out, "The cluster stays up until Ctrl-C. In another terminal, try:")
    quote(out, f"export PLPROXY_CONFIG={shlex.quote(str(config))}")
    quote(out, "plproxy partitions demo --size")
    quote(out, "plproxy call get_user marko")
    quote(out, "plproxy route demo --key marko")


def statement(name: str) -> str:
    """Return one CREATE FUNCTION of the proxy functions, as it is written."""
    blocks = sql_file("demo_plproxy.sql").read_text(encoding="utf-8").split("\n\n")
    return next(block for block in blocks if f"FUNCTION {name}(" in block)


def say(out: Console, text: str) -> None:
    """Print a line of the tale."""
    out.print(f"\n{text}")


def quote(out: Console, text: str) -> None:
    """Print code as it is written."""
    lines = textwrap.indent(textwrap.dedent(text).strip(), "    ")
    out.print(lines, style="cyan", soft_wrap=True)


def bar(share: float) -> str:
    """Return a bar, the longest for 1."""
    return ("█" if render.is_unicode() else "#") * round(share * 56)
