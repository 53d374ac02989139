"""A PL/Proxy-style function-call router for PostgreSQL."""
