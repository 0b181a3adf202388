"""The short codes as a FastAPI service with asyncpg would serve them: the usual form of such a
service, which uvicorn runs in a process for each processor. It checks the token, merges the change,
and writes the row and its history in a transaction.
"""

import contextlib
import datetime
import functools
import hashlib
import os
from typing import Annotated, Any
from uuid import UUID

import asyncpg
import jwt
import orjson
from fastapi import Depends, FastAPI, Header, HTTPException
from fastapi.responses import Response
from pydantic import BaseModel, Field

PATH = "/core/v2/phonenumber/short_codes"
SECRET = os.environ["JWT_SECRET"].encode()
MEMBERS = """attributes, callback_url, country_code, did_group_sid, locality, lrn_sid, name,
    partner_sid, short_code, sid as short_code_sid, state, string_key_1, string_key_2"""
TOTAL = "select count(*) from short_codes where partner_sid = $1"
PAGE = f"""select {MEMBERS} from short_codes where partner_sid = $1
    order by ordinal limit $2 offset $3"""
ONE = f"select {MEMBERS} from short_codes where sid = $1 and partner_sid = $2"
LOCKED = f"""select {MEMBERS}, version, head from bench_short_codes
    where sid = $1 and partner_sid = $2 for update"""
UPDATE = """update bench_short_codes
    set name = $2, attributes = $3, version = version + 1, head = $4, changed_at = now()
    where sid = $1"""
INSERT = """insert into bench_history (sid, version, kind, partner_sid, date, entry, hash, epoch)
    values ($1, $2, 'short_code', $3, now(), $4, $5, 1)"""


class Changes(BaseModel):
    """What a PATCH can change."""

    attributes: dict[str, Any] | None = None
    name: Annotated[str, Field(min_length=1, max_length=255)] | None = None


async def prepare(connection):
    await connection.set_type_codec(
        "jsonb", encoder=lambda value: b"\x01" + orjson.dumps(value),
        decoder=lambda text: orjson.loads(text[1:]), schema="pg_catalog", format="binary",
    )


@contextlib.asynccontextmanager
async def lifespan(app):
    url = os.environ["DATABASE_URL"]
    async with asyncpg.create_pool(url, max_size=10, init=prepare) as pool:
        app.state.pool = pool
        yield


app = FastAPI(lifespan=lifespan)


@functools.lru_cache(maxsize=10_000)
def verified(token):
    return jwt.decode(token, SECRET, algorithms=["HS256"])


async def caller(authorization: Annotated[str, Header()]):
    """The partner of the token."""
    try:
        claims = verified(authorization.removeprefix("Bearer "))
    except jwt.InvalidTokenError as error:
        raise HTTPException(401) from error
    if "phonenumber.manage" not in claims["scope"].split():
        raise HTTPException(403)
    return UUID(claims["sub"])


Caller = Annotated[UUID, Depends(caller)]


def answer(value):
    return Response(orjson.dumps(value), media_type="application/json")


def plain(row):
    return {name: str(value) if isinstance(value, UUID) else value for name, value in row.items()}


def found(row):
    if row is None:
        raise HTTPException(404)
    return row


def merge(target, patch):
    """Merges a JSON merge patch (RFC 7396)."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge(merged.get(key), value)
    return merged


@app.get(PATH + "/{sid}")
async def get(sid: UUID, partner: Caller):
    return answer(plain(found(await app.state.pool.fetchrow(ONE, sid, partner))))


@app.patch(PATH + "/{sid}")
async def patch(sid: UUID, partner: Caller, body: Changes):
    changes = body.model_dump(exclude_unset=True)
    async with app.state.pool.acquire() as connection, connection.transaction():
        before = plain(found(await connection.fetchrow(LOCKED, sid, partner)))
        version, head = before.pop("version") + 1, before.pop("head")
        after = merge(before, changes)
        entry = orjson.dumps({
            "action": "update", "changes": changes, "date": datetime.datetime.now(datetime.UTC),
            "object": after, "sid": str(sid), "version": version,
        })
        digest = hashlib.sha256(head + entry).digest()
        await connection.execute(UPDATE, sid, after["name"], after["attributes"], digest)
        await connection.execute(INSERT, sid, version, partner, entry.decode(), digest)
    return answer(after)


@app.get(PATH)
async def page(partner: Caller, limit: int = 10, offset: int = 0):
    pool = app.state.pool
    total = await pool.fetchval(TOTAL, partner)
    items = [plain(row) for row in await pool.fetch(PAGE, partner, limit, offset)]
    return answer({
        "count": len(items), "items": items, "limit": limit, "offset": offset, "total": total,
    })
