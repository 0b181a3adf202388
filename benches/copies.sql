-- Copies of the tables for pgbench, which would break the hash chain of the service's history.
create table bench_short_codes (like short_codes including all);
create table bench_history (like history including all);

alter table bench_short_codes
    add foreign key (partner_sid) references partners,
    add foreign key (partner_sid, did_group_sid) references did_groups (partner_sid, sid);

do $$
begin
    execute (
        select format('alter table bench_short_codes set (%s)', array_to_string(reloptions, ', '))
        from pg_class where oid = 'short_codes'::regclass
    );
end
$$;

insert into bench_short_codes overriding system value select * from short_codes order by ordinal;
insert into bench_history select * from history where kind = 'short_code' order by sid;
