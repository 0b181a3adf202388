"""The ratios of the measurements, their targets, and the tables."""

import statistics

from benchmark.peers import PEERS


def ratio(value, reference):
    """A ratio of two figures of one round."""
    return lambda figures: value(figures) / reference(figures)


def of(name, figure="rate"):
    return lambda figures: figures[name][figure]


def best_of(name):
    """The highest rate of a measurement over its numbers of clients."""
    names = [f"{name}, {clients}" for clients in (8, 16, 32)]
    return lambda figures: max(figures[name]["rate"] for name in names if name in figures)


UPDATES = "pgbench update + history, best of 8, 16, 32"
SELECTS = "pgbench select, best of 8, 16, 32"
BODY = "a fixed body (HTTP floor), 32 connections"
HOT = "pgbench on one row, 32 clients"
FEW = "one of a partner with 150, one connection: p50"


def update(clients):
    """Throughput of PATCH against that of pgbench."""
    return ratio(of(f"PATCH, {clients}"), best_of("pgbench update"))


def updating_postgres(clients):
    """PostgreSQL's processor time of a PATCH against that of pgbench's statement."""
    return ratio(of(f"PATCH, {clients}", "postgres_us"), of("pgbench update, 32", "postgres_us"))


def service_time(name):
    """The service's processor time against that of a fixed body."""
    return ratio(of(name, "service_us"), of("fixed body, 32", "service_us"))


def list_time(name):
    return ratio(of(name, "p50"), of("list of 150, 1", "p50"))


def against_peer(name, work):
    return ratio(of(work), of(f"{name} {work}"))


# Work, reference, ratio of a round, sign and value of the target.
TARGETS = [
    ("PATCH, 32 connections", UPDATES, update(32), ">=", 1.4),
    ("PATCH, 64 connections", UPDATES, update(64), ">=", 1.65),
    ("PATCH, 8 connections", UPDATES, update(8), ">=", 0.7),
    (
        "PATCH, 1 connection: p50", "pgbench, 1 client: p50",
        ratio(of("PATCH, 1", "p50"), of("pgbench update, 1", "p50")), "<=", 1.8,
    ),
    (
        "PATCH, 32 connections: p99", "pgbench, 32 clients: p99",
        ratio(of("PATCH, 32", "p99"), of("pgbench update, 32", "p99")), "<=", 0.7,
    ),
    (
        "PATCH, 32 connections: CPU of PostgreSQL", "pgbench, 32 clients", updating_postgres(32),
        "<=", 0.4,
    ),
    ("PATCH, 64 connections: the same", "the same", updating_postgres(64), "<=", 0.3),
    ("PATCH, 32 connections: CPU of the service", BODY, service_time("PATCH, 32"), "<=", 4.2),
    ("GET by sid, 32 connections: the same", BODY, service_time("GET, 32"), "<=", 2.2),
    (
        "one hot row, 32 connections", HOT, ratio(of("hot row, 32"), of("pgbench hot row, 32")),
        ">=", 6,
    ),
    (
        "GET by sid, 32 connections", "pgbench select, 16 clients",
        ratio(of("GET, 32"), of("pgbench select, 16")), ">=", 0.95,
    ),
    (
        "GET by sid, 32 connections", "without the access log",
        ratio(of("GET, 32"), of("GET without log, 32")), ">=", 0.95,
    ),
    (
        "resolve, 32 connections", "GET by sid, 32 connections",
        ratio(of("resolve, 32"), of("GET, 32")), ">=", 0.8,
    ),
    (
        "list of 100, page 900 of 1,000", "page 1",
        ratio(of("list page 900, 8"), of("list page 1, 8")), ">=", 0.95,
    ),
    ("list of a partner with 100,000: p50", FEW, list_time("list of 100,000, 1"), "<=", 1.3),
    (
        "the same, filter that half of them pass", FEW, list_time("half of 100,000, 1"), "<=", 4,
    ),
    ("the same, `total=false`", FEW, list_time("half without total, 1"), "<=", 1.3),
]
UNTARGETED = [
    ("PATCH, 256 connections", UPDATES, update(256)),
    *[
        (f"GET by sid, {n} connections", SELECTS, ratio(of(f"GET, {n}"), best_of("pgbench select")))
        for n in (32, 64, 256)
    ],
    *[
        (
            f"rent or release, {n} connections", UPDATES,
            ratio(of(f"rent and release, {n}"), best_of("pgbench update")),
        )
        for n in (8, 32)
    ],
    ("one hot row, 64 connections", HOT, ratio(of("hot row, 64"), of("pgbench hot row, 32"))),
    *[
        (work, name, against_peer(name, work))
        for name in PEERS
        for work in ("PATCH, 32", "GET, 32", "list of 150, 8", "list of 100,000, 8")
    ],
]
# In MiB, at most.
MEMORY = {"idle": 24, "32 connections loaded": 40, "10,000 idle connections": 150}


def spread(values):
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def compare(rounds, memory):
    """A row for each ratio and for each amount of memory. Skips what was not measured."""
    rows = []
    for work, reference, of_round, *target in [*TARGETS, *UNTARGETED]:
        try:
            ratios = spread([of_round(figures) for figures in rounds])
        except (KeyError, ValueError):
            continue
        rows.append(row(work, reference, ratios, *target))
    loaded = [figures["PATCH, 32"]["memory"] for figures in rounds if "PATCH, 32" in figures]
    for name, values in {**memory, "32 connections loaded": loaded}.items():
        if values:
            rows.append(row(f"memory, {name}", "MiB", spread(values), "<=", MEMORY[name]))
    return rows


def row(work, reference, figures, sign=None, target=None):
    one = {"work": work, "against": reference, "ratio": figures}
    if sign:
        median = figures["median"]
        met = median >= target if sign == ">=" else median <= target
        one |= {"sign": sign, "target": target, "met": met}
    return one


def show(value):
    return f"{value:,.2f}" if value < 10 else f"{value:,.1f}" if value < 100 else f"{value:,.0f}"


def tables(rows, rounds):
    return "\n".join([*table_of_ratios(rows), "", *table_of_measurements(rounds)])


def table_of_ratios(rows):
    yield "| work | against | median | min..max | target | |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for one in rows:
        figures, target, met = one["ratio"], "", ""
        if "met" in one:
            target = f"{'≥' if one['sign'] == '>=' else '≤'} {one['target']}"
            met = "met" if one["met"] else "**not met**"
        bounds = f"{show(figures['min'])}..{show(figures['max'])}"
        cells = [one["work"], one["against"], show(figures["median"]), bounds, target, met]
        yield f"| {' | '.join(cells)} |"


def table_of_measurements(rounds):
    yield (
        "| measurement | a second | min..max | p50 ms | p99 ms | slowest ms | service µs"
        " | PostgreSQL µs | client µs | WAL bytes |"
    )
    yield "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |"
    columns = ["rate", "p50", "p99", "max", "service_us", "postgres_us", "client_us", "wal"]
    for name in rounds[0]:
        figures = {
            column: spread([figures[name].get(column, 0) for figures in rounds])
            for column in columns
        }
        rates = figures["rate"]
        cells = [name, f"{rates['median']:,.0f}", f"{rates['min']:,.0f}..{rates['max']:,.0f}"]
        cells += [show(figures[column]["median"]) for column in ("p50", "p99")]
        cells.append(show(figures["max"]["max"]))
        costs = [figures[column] for column in columns[4:]]
        cells += [f"{cost['median']:,.0f}" if cost["max"] > 0 else "" for cost in costs]
        yield f"| {' | '.join(cells)} |"
