-- The proxy functions of `plproxy demo`, as PL/Proxy writes them. They call the
-- functions of the same names in demo.sql, on the partitions that RUN ON says.

CREATE FUNCTION create_user(i_username text, i_email text) RETURNS void
AS $$
    CLUSTER 'demo';
    RUN ON hashtext(i_username);
$$ LANGUAGE plproxy;

CREATE FUNCTION get_user(i_username text, OUT username text, OUT email text)
AS $$
    CLUSTER 'demo';
    RUN ON hashtext(i_username);
$$ LANGUAGE plproxy;

CREATE FUNCTION search_users(i_prefix text)
    RETURNS TABLE (username text, email text)
AS $$
    CLUSTER 'demo';
    RUN ON ALL;
$$ LANGUAGE plproxy;

CREATE FUNCTION count_users(OUT database text, OUT users bigint)
    RETURNS SETOF record
AS $$
    CLUSTER 'demo';
    RUN ON ALL;
$$ LANGUAGE plproxy;
