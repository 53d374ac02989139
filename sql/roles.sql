-- A role for the application that can EXECUTE functions and nothing else: no table, no
-- DDL. What it may do is then what functions do, and they can be read and counted.
--
-- Run it with psql as a superuser, in the database of every partition and in the home
-- database; it can be run again at any time, and has to be after config_tables.sql.
--     psql -v role=app -v schema=api -f roles.sql "host=db0 dbname=part00"
--
--     role    the role, created where there is none       (plproxy_app)
--     schema  where the functions are                     (public)
--     server  a foreign server that is a cluster, at home (none)
--
-- A function that reads or writes tables for this role needs its owner's rights, and then
-- a path on which nobody else can put anything:
--     CREATE FUNCTION api.get_email(name text) RETURNS text
--         LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
--         AS 'SELECT email FROM data.users WHERE username = name';
--
-- A role that exists keeps its attributes and the rights it has elsewhere. A new one has
-- no password: set it with \password, or use another way to authenticate.

\set ON_ERROR_STOP on
\if :{?role}
\else
    \set role plproxy_app
\endif
\if :{?schema}
\else
    \set schema public
\endif

SELECT format('CREATE ROLE %I LOGIN', :'role')
 WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = :'role')
\gexec

BEGIN;

GRANT CONNECT ON DATABASE :"DBNAME" TO :"role";

-- PostgreSQL 14 and older let everybody create functions in public.
REVOKE CREATE ON SCHEMA public FROM PUBLIC;
REVOKE CREATE ON SCHEMA :"schema" FROM :"role";
REVOKE ALL ON ALL TABLES IN SCHEMA :"schema" FROM :"role";
REVOKE ALL ON ALL SEQUENCES IN SCHEMA :"schema" FROM :"role";

GRANT USAGE ON SCHEMA :"schema" TO :"role";
GRANT EXECUTE ON ALL ROUTINES IN SCHEMA :"schema" TO :"role";
-- For functions to come. It counts for those that the role running this file creates:
-- run it as each role that deploys.
ALTER DEFAULT PRIVILEGES IN SCHEMA :"schema" GRANT EXECUTE ON ROUTINES TO :"role";

-- At home: reading cluster definitions, where there are functions for them.
SELECT format('GRANT USAGE ON SCHEMA plproxy TO %I', :'role')
 WHERE EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = 'plproxy')
\gexec
SELECT format('GRANT EXECUTE ON FUNCTION %s TO %I', p.oid::regprocedure, :'role')
  FROM pg_catalog.pg_proc p
  JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
 WHERE n.nspname = 'plproxy'
   AND p.proname IN ('get_cluster_version', 'get_cluster_config',
                     'get_cluster_partitions')
\gexec
\if :{?server}
    GRANT USAGE ON FOREIGN SERVER :"server" TO :"role";
\endif

COMMIT;
