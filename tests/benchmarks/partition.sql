-- What every partition holds. All have the same users: a contender may route by
-- another hash, and a cluster may be made of more partitions than there are databases.
create table users (username text primary key, email text not null);
insert into users
    select 'user' || lpad(n::text, 12, '0'), 'user' || n || '@example.com'
    from generate_series(0, 4095) n;

create table events (id bigint primary key);
insert into events select generate_series(1, 100);

create table orders as
    select n::bigint as id, (n % 100)::integer as quantity, 'customer ' || n as customer,
        (n * 1.37)::numeric(12,2) as amount, n % 3 = 0 as paid,
        timestamptz '2024-01-01 00:00Z' + n * interval '1 minute' as created,
        date '2024-01-01' + n % 365 as due, n / 7.0::float8 as weight,
        md5(n::text)::uuid as token,
        case when n % 5 > 0 then 'note ' || n end as note
    from generate_series(1, 1000) n;

-- PL/pgSQL keeps its plans, which a function in SQL would make anew in each call.
create function get_user_email(i_username text) returns text
language plpgsql stable as $$
begin
    return (select email from users where username = i_username);
end $$;

create function count_events() returns setof bigint
language plpgsql stable as $$
begin
    return query select count(*) from events;
end $$;

create function get_orders(
    out id bigint, out quantity integer, out customer text, out amount numeric(12,2),
    out paid boolean, out created timestamptz, out due date, out weight float8,
    out token uuid, out note text
) returns setof record language sql stable as $$
    select * from orders
$$;

create function put(keys text[], vals text[]) returns setof integer
language plpgsql as $$
begin
    return next cardinality(keys) + cardinality(vals);
end $$;

analyze;
