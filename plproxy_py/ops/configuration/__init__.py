"""Cluster configurations as a whole: read, show, compare, write elsewhere.

A configuration comes from a TOML file, from a database or from a router; what is
written is TOML, SQL/MED statements, or calls for the tables of
``sql/config_tables.sql``. Passwords go nowhere unless somebody asks for it.
"""
