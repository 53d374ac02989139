-- plproxy.mmh3(text) and plproxy.mmh3(bytea): MurmurHash3 x86 32-bit, seed 0, as int4.
--
-- The same numbers as plproxy_py.hashing.mmh3, for partitions and for a home database
-- that must check or compute where a key lives. Text is hashed as UTF-8, whatever the
-- database's encoding, so a text and its bytes hash alike.
--
-- Install: psql -f mmh3.sql. It can be run again at any time.
--
-- The arithmetic is done in bigint, cut to 32 bits after each step. A product of two
-- 32-bit numbers would not fit: it is put together from the two halves of the
-- constant. The constants are decimal, since hexadecimal ones need PostgreSQL 16.

CREATE SCHEMA IF NOT EXISTS plproxy;

CREATE OR REPLACE FUNCTION plproxy.mmh3(bytea) RETURNS int4
    LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE
AS $$
DECLARE
    mask   CONSTANT bigint := 4294967295;       -- 0xffffffff
    c1_hi  CONSTANT bigint := 52382;            -- 0xcc9e
    c1_lo  CONSTANT bigint := 11601;            -- 0x2d51
    c2_hi  CONSTANT bigint := 7047;             -- 0x1b87
    c2_lo  CONSTANT bigint := 13715;            -- 0x3593
    size   CONSTANT int := length($1);
    blocks CONSTANT int := size / 4;
    h bigint := 0;
    k bigint;
BEGIN
    -- The tail, if there is one, is a last block that is not followed by a rotation.
    FOR i IN 0 .. (size + 3) / 4 - 1 LOOP
        k := get_byte($1, i * 4);
        FOR j IN 1 .. least(3, size - i * 4 - 1) LOOP
            k := k | (get_byte($1, i * 4 + j)::bigint << (8 * j));
        END LOOP;

        k := ((((k * c1_hi) & 65535) << 16) + k * c1_lo) & mask;
        k := ((k << 15) | (k >> 17)) & mask;
        k := ((((k * c2_hi) & 65535) << 16) + k * c2_lo) & mask;
        h := h # k;

        IF i < blocks THEN
            h := ((h << 13) | (h >> 19)) & mask;
            h := (h * 5 + 3864292196) & mask;   -- 0xe6546b64
        END IF;
    END LOOP;

    h := h # size;
    h := h # (h >> 16);
    h := ((((h * 34283) & 65535) << 16) + h * 51819) & mask;  -- 0x85eb, 0xca6b
    h := h # (h >> 13);
    h := ((((h * 49842) & 65535) << 16) + h * 44597) & mask;  -- 0xc2b2, 0xae35
    h := h # (h >> 16);
    RETURN CASE WHEN h > 2147483647 THEN h - 4294967296 ELSE h END;
END
$$;

CREATE OR REPLACE FUNCTION plproxy.mmh3(text) RETURNS int4
    LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE
AS $$
BEGIN
    RETURN plproxy.mmh3(convert_to($1, 'UTF8'));
END
$$;
