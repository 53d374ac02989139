-- What `plproxy demo` deploys on each of its partitions: a table and the functions
-- that are its interface. They know nothing of one another's partitions.
--
-- Install: psql -f demo.sql, once on each partition. The proxy functions that call
-- them are in demo_plproxy.sql.

CREATE TABLE users (
    username text PRIMARY KEY,
    email    text NOT NULL,
    created  timestamptz NOT NULL DEFAULT now()
);

CREATE FUNCTION create_user(i_username text, i_email text) RETURNS void
    LANGUAGE sql
AS $$
    INSERT INTO users (username, email) VALUES (i_username, i_email);
$$;

CREATE FUNCTION get_user(i_username text, OUT username text, OUT email text)
    LANGUAGE sql STABLE
AS $$
    SELECT u.username, u.email FROM users u WHERE u.username = i_username;
$$;

CREATE FUNCTION get_email(i_username text) RETURNS text
    LANGUAGE sql STABLE
AS $$
    SELECT u.email FROM users u WHERE u.username = i_username;
$$;

CREATE FUNCTION search_users(i_prefix text)
    RETURNS TABLE (username text, email text)
    LANGUAGE sql STABLE
AS $$
    SELECT u.username, u.email FROM users u
    WHERE starts_with(u.username, i_prefix) ORDER BY u.username;
$$;

CREATE FUNCTION count_users(OUT database text, OUT users bigint)
    RETURNS SETOF record
    LANGUAGE sql STABLE
AS $$
    SELECT current_database(), count(*) FROM users;
$$;
