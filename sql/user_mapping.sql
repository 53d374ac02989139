-- plproxy.user_mapping: the user mappings that one may connect with, options included.
--
-- Needed where a cluster is a foreign server, its user mapping is FOR PUBLIC, and the
-- role that reads the clusters is an ordinary one. PL/Proxy runs inside the server and
-- connects with such a mapping for everybody who has USAGE on the foreign server. A
-- client sees NULL in the place of its options in pg_user_mappings, and would not know
-- as whom to connect; a mapping of one's own needs no help.
--
-- Install as a superuser, in the home database: psql -f user_mapping.sql. It can be run
-- again at any time.
--
-- Mind what it gives away: whoever has USAGE on a foreign server can read the password
-- of its PUBLIC mapping, where PL/Proxy only let them connect with it. To narrow it:
--     REVOKE SELECT ON plproxy.user_mapping FROM PUBLIC;
--     GRANT SELECT ON plproxy.user_mapping TO app;
--
-- A view, and no SECURITY DEFINER function, though both read with their owner's rights:
-- in a view current_user is whoever asks. In such a function it is the owner, who tells
-- nothing, and session_user can be a victim: a superuser's ANALYZE calls the functions
-- in other people's indexes, and these would have read every password.

BEGIN;

CREATE SCHEMA IF NOT EXISTS plproxy;
GRANT USAGE ON SCHEMA plproxy TO PUBLIC;

CREATE OR REPLACE VIEW plproxy.user_mapping WITH (security_barrier) AS
    SELECT m.oid AS umid, s.srvname, r.rolname AS usename, m.umoptions
      FROM pg_catalog.pg_user_mapping m
      JOIN pg_catalog.pg_foreign_server s ON s.oid = m.umserver
      LEFT JOIN pg_catalog.pg_roles r ON r.oid = m.umuser
     WHERE (m.umuser = 0 OR r.rolname = current_user)
       AND has_server_privilege(s.oid, 'USAGE');

COMMENT ON VIEW plproxy.user_mapping IS
    'user mappings of PUBLIC (usename is NULL) and one''s own, on usable servers';
GRANT SELECT ON plproxy.user_mapping TO PUBLIC;

COMMIT;
