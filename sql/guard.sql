-- Where a hash belongs, in SQL, and a guard that keeps rows from being elsewhere: a CHECK
-- constraint with what stands behind RUN ON.
--
-- Run it with psql in the database of every partition. It can be run again at any time.
-- Without a table it installs the two functions, and that is all:
--     psql -f guard.sql "host=db0 dbname=part00"
--
--     plproxy.partition_of(hash, n)          hash & (n - 1), n is a power of two
--     plproxy.modular_partition_of(hash, n)  abs(hash % n), under modular_mapping
--
-- Both give what PL/Proxy's own mapping gives for any int8 hash, negative ones too, and
-- NULL for a hash that is NULL or an n that there can't be.
--
-- With a table it guards it as well:
--     psql -v table=users -v run_on='hashtext(username)' -v partition=3 -v partitions=16 \
--          -f guard.sql "host=db0 dbname=part03"
--
--     table       the table, as SQL names it
--     run_on      the hash, over the table's columns, of IMMUTABLE functions only
--     partition   the partition that this database is; '3, 7' if it is two of them, as
--                 while a cluster is being doubled
--     partitions  how many there are
--     modular     on under modular_mapping                                   (off)
--
-- 1. The constraint plproxy_guard takes the place of the one that may be there, NOT VALID:
--    from then on no row comes in that belongs elsewhere, nor one whose key is NULL. It
--    waits two seconds at most for the table's lock, and holds it for a moment.
-- 2. VALIDATE reads the table, while others go on writing. It fails with 23514 if there
--    are misplaced rows; the constraint stays, and new rows are guarded. "plproxy audit"
--    lists them; once they are gone, run this file again.
--
-- Before rows are moved, say to a new partition's database, run it there: what it guards
-- against is what the move would do wrong. Once a partition's rows have left, run it again
-- with the partitions that are left here.
--     ALTER TABLE users DROP CONSTRAINT plproxy_guard;    -- takes the guard away

\set ON_ERROR_STOP on

BEGIN;
SET LOCAL client_min_messages = warning;

CREATE SCHEMA IF NOT EXISTS plproxy;
GRANT USAGE ON SCHEMA plproxy TO PUBLIC;

CREATE OR REPLACE FUNCTION plproxy.partition_of(hash int8, n int4) RETURNS int4
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$
    SELECT CASE WHEN n > 0 AND n & (n - 1) = 0 THEN (hash & (n - 1)::int8)::int4 END
$$;

-- C truncates towards zero, and so does SQL: -4 % 3 is -1.
CREATE OR REPLACE FUNCTION plproxy.modular_partition_of(hash int8, n int4) RETURNS int4
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$
    SELECT CASE WHEN n > 0 THEN abs(hash % n::int8)::int4 END
$$;

COMMIT;

\if :{?table}
    \if :{?modular}
    \else
        \set modular off
    \endif
    \if :modular
        \set mapping modular_partition_of
    \else
        \set mapping partition_of
    \endif

    BEGIN;
    SET LOCAL client_min_messages = warning;
    SET LOCAL lock_timeout = '2s';
    ALTER TABLE :table
        DROP CONSTRAINT IF EXISTS plproxy_guard,
        ADD CONSTRAINT plproxy_guard CHECK (
            (plproxy.:mapping(:run_on, :partitions) IN (:partition)) IS TRUE
        ) NOT VALID;
    COMMIT;

    ALTER TABLE :table VALIDATE CONSTRAINT plproxy_guard;
\endif
