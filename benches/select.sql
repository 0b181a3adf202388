-- The work of a GET by sid.
\set number random(:first, :last)
select * from short_codes where sid = ('00000000-0000-7000-8000-' || lpad(:number, 12, '0'))::uuid;
