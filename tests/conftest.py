"""Names the plugins; each fixture lives in the file of its subject."""

from hypothesis import settings

# An example that takes long on a busy machine is no failure.
settings.register_profile("without deadlines", deadline=None)
settings.load_profile("without deadlines")

pytest_plugins = [
    "tests.fix_server",
    "tests.fix_router",
    "tests.fix_fake",
    "tests.fix_cli",
    "tests.fix_check",
    "tests.fix_plproxy",
    "tests.fix_migrate",
    "tests.fix_proxydb",
    "tests.fix_twins",
    "tests.fix_long",
    "tests.fix_hostile",
    "tests.fix_servers",
    "tests.fix_network",
    "tests.fix_pgbouncer",
    "tests.fix_placing",
    "tests.fix_deploy",
]
