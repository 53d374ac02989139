"""PL/Proxy's own function text, loaded from a file and called from Python.

Run: python examples/verbatim.py SERVER (see playground.py)
"""

# mypy: disable-error-code=empty-body

from pathlib import Path

from playground import partitions

from plproxy_py import Router

router = Router()
functions = router.load(Path(__file__).with_name("verbatim.sql"))


# A typed face for one of them: it says what Python sees, and where and how the function
# runs stays in the file, which a DBA may change.
@router.proxy
def get_user_email(i_username: str) -> str | None: ...


def main() -> None:
    print("loaded:", *[function.__name__ for function in functions])

    with partitions(4) as connstrs, router:
        router.configure({"userdb": connstrs})

        # By name, as SQL names a function ...
        for name in ["marko", "sven", "asko", "ann", "mari", "peeter", "kristo"]:
            router.call("create_user", name, f"{name}@example.com")

        # ... or by its typed face.
        print("marko:", get_user_email("marko"))

        long_names = router.functions["public.long_names(int4)"]
        print("sent:", long_names.plan(6).sql)
        for row in sorted(long_names(6)):
            print(f"{row.username} has {row.length} letters")

        # RUN ON ANY tags one partition by chance.
        count = router.call("users_on_some_partition")
        print("some of the seven are on any partition:", 0 <= count <= 7)


if __name__ == "__main__":
    main()
