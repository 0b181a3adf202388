// The short codes as a Fastify service with `pg` would serve them: the usual form of such a
// service, with a process for each processor. It checks the token, merges the change, and writes
// the row and its history in a transaction.

import cluster from "node:cluster";
import { availableParallelism } from "node:os";
import { createHash } from "node:crypto";
import jwt from "@fastify/jwt";
import Fastify from "fastify";
import pg from "pg";

const PATH = "/core/v2/phonenumber/short_codes";
const MEMBERS = `attributes, callback_url, country_code, did_group_sid, locality, lrn_sid, name,
  partner_sid, short_code, sid as short_code_sid, state, string_key_1, string_key_2`;
const TOTAL = "select count(*)::int from short_codes where partner_sid = $1";
const PAGE = `select ${MEMBERS} from short_codes where partner_sid = $1
  order by ordinal limit $2 offset $3`;
const ONE = `select ${MEMBERS} from short_codes where sid = $1 and partner_sid = $2`;
const LOCKED = `select ${MEMBERS}, version, head from bench_short_codes
  where sid = $1 and partner_sid = $2 for update`;
const UPDATE = `update bench_short_codes
  set name = $2, attributes = $3, version = version + 1, head = $4, changed_at = now()
  where sid = $1`;
const INSERT = `insert into bench_history
  (sid, version, kind, partner_sid, date, entry, hash, epoch)
  values ($1, $2, 'short_code', $3, now(), $4, $5, 1)`;

// The names of prepared statements.
const named = (name, text) => (values) => ({ name, text, values });
const [total, page, one, locked, update, insert] = Object.entries(
  { TOTAL, PAGE, ONE, LOCKED, UPDATE, INSERT },
).map(([name, text]) => named(name, text));

/** Merges a JSON merge patch (RFC 7396). */
function merge(target, patch) {
  if (patch === null || typeof patch !== "object" || Array.isArray(patch)) return patch;
  const merged = { ...target };
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) delete merged[key];
    else merged[key] = merge(merged[key], value);
  }
  return merged;
}

async function patch(pool, sid, partner, changes) {
  const client = await pool.connect();
  try {
    await client.query("begin");
    const found = (await client.query(locked([sid, partner]))).rows[0];
    if (!found) {
      await client.query("rollback");
      return undefined;
    }
    const { version, head, ...before } = found;
    const object = merge(before, changes);
    const next = Number(version) + 1;
    const date = new Date().toISOString();
    const entry = JSON.stringify({ action: "update", changes, date, object, sid, version: next });
    const hash = createHash("sha256").update(head).update(entry).digest();
    await client.query(update([sid, object.name, object.attributes, hash]));
    await client.query(insert([sid, next, partner, entry, hash]));
    await client.query("commit");
    return object;
  } catch (error) {
    await client.query("rollback");
    throw error;
  } finally {
    client.release();
  }
}

async function serve() {
  const app = Fastify({ logger: true });
  const pool = new pg.Pool({ connectionString: process.env.DATABASE_URL, max: 10 });
  await app.register(jwt, {
    secret: Buffer.from(process.env.JWT_SECRET),
    verify: { algorithms: ["HS256"], cache: true },
  });
  app.addHook("onRequest", async (request) => {
    await request.jwtVerify();
    if (!request.user.scope.split(" ").includes("phonenumber.manage")) {
      throw Object.assign(new Error("insufficient scope"), { statusCode: 403 });
    }
  });
  const sid = { type: "string", format: "uuid" };
  const item = { params: { type: "object", properties: { sid } } };
  const body = {
    type: "object",
    properties: {
      attributes: { type: "object" },
      name: { type: "string", minLength: 1, maxLength: 255 },
    },
  };
  const orMissing = (object, reply) => object ?? reply.code(404).send({ message: "not found" });
  app.get(`${PATH}/:sid`, { schema: item }, async (request, reply) => {
    const found = await pool.query(one([request.params.sid, request.user.sub]));
    return orMissing(found.rows[0], reply);
  });
  app.patch(`${PATH}/:sid`, { schema: { ...item, body } }, async (request, reply) => {
    const { params, user } = request;
    return orMissing(await patch(pool, params.sid, user.sub, request.body), reply);
  });
  app.get(PATH, async (request) => {
    const { limit = 10, offset = 0 } = request.query;
    const partner = request.user.sub;
    const [counted, { rows }] = await Promise.all([
      pool.query(total([partner])), pool.query(page([partner, limit, offset])),
    ]);
    return { count: rows.length, items: rows, limit, offset, total: counted.rows[0].count };
  });
  await app.listen({ host: "127.0.0.1", port: Number(process.env.PORT) });
}

if (cluster.isPrimary) {
  for (let count = availableParallelism(); count > 0; count -= 1) cluster.fork();
} else {
  await serve();
}
