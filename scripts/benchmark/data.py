"""The rows that the benchmark reads and writes."""

import json

# Each with a token; their short codes take turns in the table.
PARTNERS = 100
# The short codes of one more partner, whose lists are measured: 1,000 pages of 100.
LISTED = 100_000
# The short codes of the last partner, whose lists are compared with those.
FEW = 150
# Of 16 MiB each: as many as a run of the usual length writes.
WAL_SEGMENTS = 224


def sid(number):
    return f"00000000-0000-7000-8000-{number:012}"


def load(workspace, postgres, shortline, codes):
    """Imports the short codes, and returns a token of each partner. The last two are for lists."""
    partners = [shortline.create_partner(f"Partner {n}") for n in range(PARTNERS + 2)]
    tokens = [shortline.issue_token(partner) for partner in partners]
    path = workspace.path / "short_codes.ndjson"
    with open(path, "w") as lines:
        for number in range(codes + LISTED + FEW):
            last = PARTNERS if number < codes + LISTED else PARTNERS + 1
            partner = partners[number % PARTNERS if number < codes else last]
            lines.write(json.dumps(short_code(number, partner)) + "\n")
    shortline.run("short-code", "import", str(path))
    path.unlink()
    postgres.query("vacuum (analyze)", "checkpoint")
    return tokens


def short_code(number, partner):
    return {
        "attributes": {"limits": {"day": number % 1000, "month": 9000}, "plan": "gold"},
        "callback_url": f"https://partner.example/hooks/{number}",
        "locality": "Springfield",
        "name": f"Code {number}",
        "partner_sid": partner,
        "short_code": str(10_000_000 + number),
        "short_code_sid": sid(number),
        "state": "IL",
        "string_key_1": "common",
        # Half of the short codes of every partner.
        "string_key_2": "even" if number // PARTNERS % 2 == 0 else "odd",
    }


def create_wal_segments(postgres):
    """Creates WAL segments for reuse, as on a server that has run for a while.

    The creation of a segment delays every commit by 10 to 70 ms.
    """
    segment = "perform pg_logical_emit_message(false, '', ''), pg_switch_wal()"
    postgres.query(f"do $$ begin for n in 1..{WAL_SEGMENTS} loop {segment}; end loop; end $$")


def add_history(postgres, entries, codes):
    """Adds entries of earlier versions to all short codes, as years of changes would."""
    turns = -(-entries // codes)
    postgres.query(f"""
        insert into history (sid, version, kind, partner_sid, date, entry, hash)
        select sid, turn - 1000000, kind, partner_sid,
               date - interval '10 years' + turn * interval '1 minute', repeat('x', 1000), hash
        from generate_series(1, {turns}) as turn, history
        where kind = 'short_code' and version = 1 and sid < '{sid(codes)}'
        order by turn, sid limit {entries}""")


def sizes(postgres):
    """The sizes of the tables, as a sentence."""
    return postgres.query("""
        select string_agg(format('%s: %s MB and indexes of %s MB', name,
                                 pg_table_size(name) / 1000000,
                                 pg_indexes_size(name) / 1000000), '; ')
        from unnest(array['short_codes', 'history']::regclass[]) as name""")


def check_writes(postgres, answers, connections):
    """Checks that no update was lost or applied twice, and returns a sentence about it.

    Each of `connections` requests may have been in flight when its client stopped.
    """
    entries, versions = map(int, postgres.query("""
        select (select count(*) from history where kind = 'short_code' and version > 1),
               (select sum(version - 1) from short_codes)""").split("|"))
    broken = int(postgres.query(BROKEN_HASHES))
    sentence = (
        f"{answers} updates got a 200; {entries} history entries, {versions} versions,"
        f" {broken} wrong hashes"
    )
    in_flight = entries - answers
    return entries == versions and 0 <= in_flight <= connections and not broken, sentence


# Of the hot row and a thousand others.
BROKEN_HASHES = f"""
    select count(*) from (
        select hash, head, lead(hash, 1, head) over chain as last,
               sha256(lag(hash, 1, '') over chain || convert_to(entry, 'UTF8')) as expected,
               version = count(*) over (partition by sid) as newest
        from history join (select sid, head from short_codes) as codes using (sid)
        where sid < '{sid(1000)}' and version > 0
        window chain as (partition by sid order by version)
    ) as chain
    where hash <> expected or (newest and hash <> head)"""
