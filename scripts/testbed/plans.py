"""The log of a PostgreSQL server with the plans of the statements that it ran."""

import contextlib
import json
import os
import re
import time

# The log contains every statement with its time, as JSON, and plans while auto_explain is on.
LOGGING = {
    "autovacuum_naptime": "20s",
    "shared_preload_libraries": "auto_explain",
    "auto_explain.log_analyze": "on",
    "auto_explain.log_buffers": "on",
    "logging_collector": "on",
    "log_directory": "../log",
    "log_destination": "jsonlog",
    "log_filename": "postgresql",
    "log_rotation_age": "0",
    "log_rotation_size": "0",
}
# A prepared statement gets a generic plan after five executions at the earliest.
WARM_UP = 7


@contextlib.contextmanager
def logged(postgres, messages):
    """Collects the messages that the server logs meanwhile."""
    with open(postgres.folder / "log/postgresql.json") as lines:
        lines.seek(0, os.SEEK_END)
        yield
        time.sleep(0.3)
        # The first and the last line may be incomplete.
        whole = [line for line in lines if line.startswith("{") and line.endswith("}\n")]
        messages += [json.loads(line)["message"] for line in whole]


@contextlib.contextmanager
def explained(postgres, plans):
    """Collects the statements that the server runs meanwhile, each with its time and plan."""
    explain = "alter system set auto_explain.log_min_duration = 0"
    postgres.query(explain, "select pg_reload_conf()")
    time.sleep(0.2)
    messages = []
    with logged(postgres, messages):
        yield
    reset = "alter system reset auto_explain.log_min_duration"
    postgres.query(reset, "select pg_reload_conf()")
    for message in messages:
        pattern = r"duration: ([\d.]+) ms  plan:\nQuery Text: (.*?)\n((?:\S[^\n]*\(cost=.*))"
        if plan := re.match(pattern, message, re.S):
            plans.append((plan[2], float(plan[1]), plan[3]))
