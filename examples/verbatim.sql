-- PL/Proxy functions as they stand in a proxy database. Nothing is changed for Python.

CREATE FUNCTION create_user(i_username text, i_email text)
RETURNS void AS $$
    CLUSTER 'userdb';
    RUN ON hashtext(i_username);
$$ LANGUAGE plproxy;

CREATE OR REPLACE FUNCTION get_user_email(i_username text)
RETURNS text AS $$
    CLUSTER 'userdb';
    RUN ON hashtext(i_username);
$$ LANGUAGE plproxy;

-- A query of its own, for which the partitions need no function.
CREATE FUNCTION long_names(
    i_length integer, OUT username text, OUT length integer
)
RETURNS SETOF record AS $$
    CLUSTER 'userdb';
    RUN ON ALL;
    SELECT username, length(username) FROM users WHERE length(username) >= i_length;
$$ LANGUAGE plproxy;

-- Another name on the partitions than here.
CREATE FUNCTION users_on_some_partition()
RETURNS bigint AS $$
    CLUSTER 'userdb';
    RUN ON ANY;
    TARGET count_users;
$$ LANGUAGE plproxy;

-- Whatever is not LANGUAGE plproxy is passed over.
GRANT EXECUTE ON FUNCTION get_user_email(text) TO PUBLIC;
