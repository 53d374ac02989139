-- Cluster definitions in tables, with PL/Proxy's three functions on top: for a team that
-- has none yet. PL/Proxy itself and plproxy_py read them alike.
--
-- Install in the home database, as whoever is to own them: psql -f config_tables.sql.
-- All of it is created or, if any of its names is taken, nothing.
--
-- Define a cluster, or give it other partitions; the array's order numbers them from 0:
--     SELECT plproxy.set_cluster('userdb', ARRAY[
--         'host=db0 dbname=part00', 'host=db1 dbname=part01']);
--     INSERT INTO plproxy.cluster_config VALUES ('userdb', 'query_timeout', '5');
--
-- The tables can be written as well. Each statement gives the cluster a new version,
-- which is how routers notice: what belongs together belongs into one transaction, or
-- calls go by the half of it. The count of partitions is a power of two, or the option
-- modular_mapping is 1.
--
-- Rights: connect strings may hold passwords, so nobody but the owner may read them
-- until EXECUTE on the three functions is granted; roles.sql does it for one role.

BEGIN;

CREATE SCHEMA IF NOT EXISTS plproxy;
GRANT USAGE ON SCHEMA plproxy TO PUBLIC;

-- One sequence for all: a cluster that was dropped and defined again does not come back
-- with a version that somebody has seen.
CREATE SEQUENCE plproxy.cluster_version AS int4 CYCLE;

CREATE TABLE plproxy.cluster (
    name    text PRIMARY KEY,
    version int4 NOT NULL DEFAULT nextval('plproxy.cluster_version')
);

CREATE TABLE plproxy.cluster_partition (
    cluster text NOT NULL REFERENCES plproxy.cluster ON UPDATE CASCADE ON DELETE CASCADE,
    number  int4 NOT NULL CHECK (number >= 0),
    connstr text NOT NULL,
    PRIMARY KEY (cluster, number)
);

-- PL/Proxy refuses a cluster with connect_timeout, pooler or timezone: they are for
-- plproxy_py only.
CREATE TABLE plproxy.cluster_config (
    cluster text NOT NULL REFERENCES plproxy.cluster ON UPDATE CASCADE ON DELETE CASCADE,
    key     text NOT NULL CHECK (key IN (
                'connection_lifetime',  -- seconds, 0 for no end
                'query_timeout',        -- seconds, 0 for none
                'modular_mapping',      -- 1: hash modulo partitions, of any count
                'default_user',         -- current_user or session_user
                'disable_binary',       -- accepted, without effect
                'connect_timeout',      -- seconds
                'pooler',               -- 1: behind PgBouncer in transaction mode
                'timezone')),           -- of every session, as in Europe/Tallinn
    val     text NOT NULL,
    PRIMARY KEY (cluster, key)
);

-- With its owner's rights, so that whoever may write partitions needs no right to write
-- versions.
CREATE FUNCTION plproxy.bump_cluster_version() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        UPDATE plproxy.cluster SET version = nextval('plproxy.cluster_version');
    ELSE
        UPDATE plproxy.cluster SET version = nextval('plproxy.cluster_version')
         WHERE name IN (OLD.cluster, NEW.cluster);
    END IF;
    RETURN NULL;
END
$$;

CREATE TRIGGER bump AFTER INSERT OR UPDATE OR DELETE ON plproxy.cluster_partition
    FOR EACH ROW EXECUTE FUNCTION plproxy.bump_cluster_version();
CREATE TRIGGER bump_all AFTER TRUNCATE ON plproxy.cluster_partition
    FOR EACH STATEMENT EXECUTE FUNCTION plproxy.bump_cluster_version();
CREATE TRIGGER bump AFTER INSERT OR UPDATE OR DELETE ON plproxy.cluster_config
    FOR EACH ROW EXECUTE FUNCTION plproxy.bump_cluster_version();
CREATE TRIGGER bump_all AFTER TRUNCATE ON plproxy.cluster_config
    FOR EACH STATEMENT EXECUTE FUNCTION plproxy.bump_cluster_version();

-- STABLE: where one statement calls all three, they see the same state.
CREATE FUNCTION plproxy.get_cluster_version(cluster_name text) RETURNS int4
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    found int4 := (SELECT version FROM plproxy.cluster WHERE name = cluster_name);
BEGIN
    IF found IS NULL THEN
        RAISE EXCEPTION 'no such cluster: %', cluster_name
            USING ERRCODE = 'undefined_object';
    END IF;
    RETURN found;
END
$$;

CREATE FUNCTION plproxy.get_cluster_config(
        cluster_name text, OUT key text, OUT val text)
    RETURNS SETOF record
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT key, val FROM plproxy.cluster_config WHERE cluster = cluster_name
$$;

-- Rows are numbered as they come, so that a gap would move all partitions behind it.
CREATE FUNCTION plproxy.get_cluster_partitions(cluster_name text) RETURNS SETOF text
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF EXISTS (SELECT FROM plproxy.cluster_partition
                WHERE cluster = cluster_name
               HAVING max(number) + 1 <> count(*)) THEN
        RAISE EXCEPTION 'cluster %: a partition number is missing', cluster_name
            USING ERRCODE = 'config_file_error';
    END IF;
    RETURN QUERY SELECT connstr FROM plproxy.cluster_partition
                  WHERE cluster = cluster_name ORDER BY number;
END
$$;

CREATE FUNCTION plproxy.set_cluster(cluster_name text, connstrs text[]) RETURNS int4
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    INSERT INTO plproxy.cluster (name) VALUES (cluster_name) ON CONFLICT DO NOTHING;
    DELETE FROM plproxy.cluster_partition WHERE cluster = cluster_name;
    INSERT INTO plproxy.cluster_partition (cluster, number, connstr)
        SELECT cluster_name, n - 1, c FROM unnest(connstrs) WITH ORDINALITY AS u (c, n);
    RETURN (SELECT version FROM plproxy.cluster WHERE name = cluster_name);
END
$$;

REVOKE EXECUTE ON FUNCTION
    plproxy.bump_cluster_version(),
    plproxy.get_cluster_version(text),
    plproxy.get_cluster_config(text),
    plproxy.get_cluster_partitions(text),
    plproxy.set_cluster(text, text[])
    FROM PUBLIC;

COMMIT;
