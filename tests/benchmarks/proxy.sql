-- The same functions as the caller declares them: for PL/Proxy and for plproxy_py.
create function get_user_email(i_username text) returns text language plproxy as $$
    cluster 'bench'; run on hashtext(i_username);
$$;

create function count_events() returns setof bigint language plproxy as $$
    cluster 'bench'; run on all;
$$;

create function get_orders(
    out id bigint, out quantity integer, out customer text, out amount numeric(12,2),
    out paid boolean, out created timestamptz, out due date, out weight float8,
    out token uuid, out note text
) returns setof record language plproxy as $$
    cluster 'bench'; run on all;
$$;

create function put(keys text[], vals text[]) returns setof integer
language plproxy as $$
    cluster 'bench'; split keys, vals; run on hashtext(keys);
$$;
