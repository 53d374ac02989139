-- What every partition of the examples has: a table, and functions that work on it.
-- They are ordinary functions: they see their own database and know of no other.

CREATE TABLE users (
    username text PRIMARY KEY,
    email    text NOT NULL
);

CREATE FUNCTION create_user(i_username text, i_email text) RETURNS void
LANGUAGE sql AS $$ INSERT INTO users VALUES (i_username, i_email) $$;

CREATE FUNCTION get_user_email(i_username text) RETURNS text
LANGUAGE sql STABLE AS $$ SELECT email FROM users WHERE username = i_username $$;

CREATE FUNCTION find_users(i_prefix text) RETURNS SETOF users
LANGUAGE sql STABLE AS $$
    SELECT * FROM users WHERE starts_with(username, i_prefix) ORDER BY username
$$;

CREATE FUNCTION count_users(i_delay float8 DEFAULT 0) RETURNS bigint
LANGUAGE sql AS $$ SELECT pg_sleep(i_delay); SELECT count(*) FROM users $$;
