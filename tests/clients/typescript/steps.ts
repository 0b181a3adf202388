// Uses the generated TypeScript client in 25 steps, against two instances of Shortline on one
// database.
//
//     node steps.js FIRST_URL SECOND_URL CLIENT_FILE
//
// The steps write on the first instance and read on the second. CLIENT_FILE holds the output of
// `shortline client create --json`. The file is also an example: each step shows how the client
// does one thing. `scripts/generated-clients-test` runs it.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";

import createClient, { type Client } from "openapi-fetch";

import type { components, paths } from "./schema.js";

type Api = Client<paths, "application/json">;
type DidGroup = components["schemas"]["DidGroup"];
type ShortCode = components["schemas"]["ShortCode"];

const DID_GROUPS = "/core/v2/phonenumber/did_groups";
const DID_GROUP = "/core/v2/phonenumber/did_groups/{did_group_sid}";
const SHORT_CODES = "/core/v2/phonenumber/short_codes";
const SHORT_CODE = "/core/v2/phonenumber/short_codes/{short_code_sid}";
const PARTNERS = "/core/v2/partners";
const PARTNER = "/core/v2/partners/{partner_sid}";

// The OAuth endpoints take forms.
const FORM = { "Content-Type": "application/x-www-form-urlencoded" };

let number = 0;

/** Prints the line of a step once it has succeeded. */
async function step<T>(sentence: string, run: () => Promise<T>): Promise<T> {
  number += 1;
  const line = `${String(number).padStart(2)} ${sentence}`;
  try {
    const result = await run();
    console.log(`ok     ${line}`);
    return result;
  } catch (error) {
    console.log(`FAILED ${line}`);
    throw error;
  }
}

/** What openapi-fetch returns: `data` if the status is 2xx, otherwise `error`. */
interface Result<Data, Failure> {
  data?: Data;
  error?: Failure;
  response: Response;
}

/** Returns the body of a response that must be a success. */
function success<Data, Failure>({ data, error, response }: Result<Data, Failure>): Data {
  assert.ok(data !== undefined, `${response.status}: ${JSON.stringify(error)}`);
  return data;
}

/** Returns the body of a response that must be an error with that status. */
function failure<Data, Failure>(result: Result<Data, Failure>, status: number): Failure {
  const { data, error, response } = result;
  assert.equal(response.status, status, JSON.stringify(data ?? error));
  assert.ok(error !== undefined);
  return error;
}

/** Returns the ETag of a response: the version of the object. */
function etag({ response }: { response: Response }): string {
  const tag = response.headers.get("ETag");
  assert.ok(tag);
  return tag;
}

/** Returns a client of one instance that sends an `Authorization` header. */
function connect(baseUrl: string, authorization: string): Api {
  return createClient({ baseUrl, headers: { Authorization: authorization } });
}

/** Returns the `Authorization` header of HTTP Basic, for `/oauth/token`. */
function basic(clientId: string, clientSecret: string): string {
  return `Basic ${Buffer.from(`${clientId}:${clientSecret}`).toString("base64")}`;
}

/** Returns an access token. */
async function authenticate(url: string, clientId: string, clientSecret: string): Promise<string> {
  const body = { grant_type: "client_credentials" } as const;
  const accessToken = await step("The client credentials grant returns a token", async () => {
    const oauth = connect(url, basic(clientId, clientSecret));
    const token = success(await oauth.POST("/core/v2/oauth/token", { body, headers: FORM }));
    assert.equal(token.token_type, "bearer");
    assert.ok(token.access_token);
    return token.access_token;
  });

  await step("A wrong client secret is a typed 401", async () => {
    const oauth = connect(url, basic(clientId, "wrong"));
    const error = failure(await oauth.POST("/core/v2/oauth/token", { body, headers: FORM }), 401);
    assert.equal(error.message, "bad credentials");
    assert.equal(error.error, "invalid_client");
  });
  return accessToken;
}

/** Creates a DID group and a short code, and reads them. */
async function createAndRead(first: Api, second: Api): Promise<[DidGroup, ShortCode]> {
  const whoami = await step(
    "The other instance accepts the token and returns its partner and scopes",
    async () => {
      const whoami = success(await second.GET("/core/v2/oauth/whoami"));
      assert.ok(whoami.scopes.includes("phonenumber.manage"));
      assert.ok(whoami.scopes.includes("admin.manage"));
      return whoami;
    },
  );

  const [group, tag] = await step(
    "A DID group is read where it was not created, with the same ETag",
    async () => {
      const body = { name: "Support", callback_url: "https://example.com/support" };
      const created = await first.POST(DID_GROUPS, { body });
      const group = success(created);
      const path = { did_group_sid: group.did_group_sid };
      const read = await second.GET(DID_GROUP, { params: { path } });
      assert.deepEqual(success(read), group);
      assert.equal(etag(read), etag(created));
      return [group, etag(read)];
    },
  );

  await step("If-None-Match with the current ETag is a 304", async () => {
    const path = { did_group_sid: group.did_group_sid };
    const header = { "If-None-Match": tag };
    const again = await second.GET(DID_GROUP, { params: { path, header } });
    assert.equal(again.response.status, 304);
  });

  const code = await step("A short code is created in the DID group", async () => {
    const body = {
      partner_sid: whoami.partner.partner_sid,
      short_code: "26399",
      state: "IL",
      name: "Alerts",
      did_group_sid: group.did_group_sid,
      attributes: { tier: "gold", limits: { day: 100, hour: 10 } },
    };
    const code = success(await first.POST(SHORT_CODES, { body }));
    assert.equal(code.country_code, "USA");
    assert.equal(code.did_group_sid, group.did_group_sid);
    return code;
  });

  await step("with_related adds the owner", async () => {
    const path = { short_code_sid: code.short_code_sid };
    const query = { with_related: true };
    const read = success(await second.GET(SHORT_CODE, { params: { path, query } }));
    assert.ok("partner" in read);
    assert.equal(read.partner?.partner_sid, code.partner_sid);
  });
  return [group, code];
}

/** Reads lists and parts of objects. */
async function listAndSelect(first: Api, second: Api, code: ShortCode): Promise<void> {
  await step("A list is filtered and ordered", async () => {
    const query = {
      filter: "state eq 'IL' and attributes.tier eq 'gold'",
      order: "short_code desc, name",
    };
    const found = success(await second.GET(SHORT_CODES, { params: { query } }));
    assert.deepEqual(found.items.map((item) => item.short_code), ["26399"]);
    assert.deepEqual([found.count, found.total, found.has_more], [1, 1, false]);
  });

  await step("Keyset paging returns every DID group once", async () => {
    const names = [1, 2, 3, 4, 5].map((number) => `page ${number}`);
    for (const name of names) {
      success(await first.POST(DID_GROUPS, { body: { name } }));
    }
    const collected: (string | undefined)[] = [];
    let after: string | undefined;
    let hasMore = true;
    while (hasMore) {
      const query = { filter: "name like 'page %'", limit: 2, after };
      const page = success(await second.GET(DID_GROUPS, { params: { query } }));
      collected.push(...page.items.map((item) => item.name));
      after = page.items.at(-1)?.did_group_sid;
      hasMore = page.has_more;
    }
    assert.deepEqual(collected, names);
  });

  await step("include_fields returns these members only", async () => {
    const path = { short_code_sid: code.short_code_sid };
    const query = { include_fields: "name,attributes.limits.day" };
    const part = success(await second.GET(SHORT_CODE, { params: { path, query } }));
    assert.deepEqual(part, { attributes: { limits: { day: 100 } }, name: "Alerts" });
  });
}

/** Updates both objects, with the means against lost updates and repeated writes. */
async function update(first: Api, second: Api, group: DidGroup, code: ShortCode): Promise<void> {
  const groupPath = { did_group_sid: group.did_group_sid };
  const path = { short_code_sid: code.short_code_sid };

  await step("PATCH changes what is sent, merges attributes and clears by null", async () => {
    const cleared = { callback_url: null };
    const sent = { params: { path: groupPath }, body: cleared };
    assert.equal(success(await first.PATCH(DID_GROUP, sent)).callback_url, null);
    const body = { attributes: { limits: { day: 200, hour: null } }, string_key_1: "billing" };
    success(await first.PATCH(SHORT_CODE, { params: { path }, body }));
    const read = success(await second.GET(SHORT_CODE, { params: { path } }));
    assert.deepEqual(read.attributes, { tier: "gold", limits: { day: 200 } });
    assert.deepEqual([read.name, read.string_key_1], ["Alerts", "billing"]);
  });

  await step("If-Match accepts the current ETag and rejects a stale one with 412", async () => {
    const tag = etag(await second.GET(SHORT_CODE, { params: { path } }));
    const params = { path, header: { "If-Match": tag } };
    const renamed = await first.PATCH(SHORT_CODE, { params, body: { name: "Mine" } });
    assert.equal(success(renamed).name, "Mine");
    assert.notEqual(etag(renamed), tag);
    const stale = await second.PATCH(SHORT_CODE, { params, body: { name: "Theirs" } });
    assert.equal(failure(stale, 412).message, "precondition failed");
    const read = success(await second.GET(SHORT_CODE, { params: { path } }));
    assert.equal(read.name, "Mine");
  });

  await step("PUT replaces the whole object", async () => {
    const wholeGroup = { name: "Sales", callback_url: "https://example.com/sales" };
    const sent = { params: { path: groupPath }, body: wholeGroup };
    assert.equal(success(await first.PUT(DID_GROUP, sent)).name, "Sales");
    const body = {
      attributes: { tier: "silver" },
      callback_url: "https://example.com/alerts",
      did_group_sid: code.did_group_sid,
      name: "Replaced",
      string_key_1: null,
      string_key_2: null,
    };
    success(await first.PUT(SHORT_CODE, { params: { path }, body }));
    const read = success(await second.GET(SHORT_CODE, { params: { path } }));
    assert.deepEqual(read.attributes, { tier: "silver" });
    assert.deepEqual([read.name, read.string_key_1], ["Replaced", null]);
  });

  const header = { "Idempotency-Key": randomUUID() };
  await step(
    "A retry with the same Idempotency-Key is replayed by the other instance",
    async () => {
      const request = { params: { header }, body: { name: "once" } };
      const created = await first.POST(DID_GROUPS, request);
      const retried = await second.POST(DID_GROUPS, request);
      assert.deepEqual(success(retried), success(created));
      assert.equal(retried.response.headers.get("Idempotency-Replayed"), "true");
      const query = { filter: "name eq 'once'" };
      const listed = success(await second.GET(DID_GROUPS, { params: { query } }));
      assert.equal(listed.total, 1);
    },
  );

  await step("Another request with that key is a 422", async () => {
    const other = await second.POST(DID_GROUPS, { params: { header }, body: { name: "twice" } });
    assert.equal(failure(other, 422).message, "object validation error");
  });

  await step("validate_only returns the result and stores nothing", async () => {
    const params = { path, query: { validate_only: true } };
    const dry = await first.PATCH(SHORT_CODE, { params, body: { name: "Dry" } });
    assert.equal(success(dry).name, "Dry");
    const read = success(await second.GET(SHORT_CODE, { params: { path } }));
    assert.equal(read.name, "Replaced");
  });
}

/** Sends requests that are rejected, and reads the errors. */
async function handleErrors(
  first: Api,
  second: Api,
  group: DidGroup,
  code: ShortCode,
): Promise<void> {
  await step("A 422 names every member that is wrong", async () => {
    const path = { short_code_sid: code.short_code_sid };
    const body = { name: "", callback_url: "ftp://example.com", string_key_2: "x".repeat(256) };
    const error = failure(await first.PATCH(SHORT_CODE, { params: { path }, body }), 422);
    assert.equal(error.message, "object validation error");
    const fields = error.errors.map((entry) => entry.field).sort();
    assert.deepEqual(fields, ["callback_url", "name", "string_key_2"]);
  });

  await step("An unknown sid is a 404", async () => {
    const path = { did_group_sid: randomUUID() };
    const error = failure(await second.GET(DID_GROUP, { params: { path } }), 404);
    assert.equal(error.message, "no item error");
  });

  await step("Deleting a DID group in use is a 409 that refers to a short code", async () => {
    const path = { did_group_sid: group.did_group_sid };
    const error = failure(await first.DELETE(DID_GROUP, { params: { path } }), 409);
    assert.equal(error.errors[0]?.reference_sid, code.short_code_sid);
  });
}

/** Reads the history of the short code and reverts it to its first version. */
async function lookBack(first: Api, second: Api, code: ShortCode): Promise<void> {
  const path = { short_code_sid: code.short_code_sid };
  const history = `${SHORT_CODE}/history` as const;

  const entries = await step(
    "The history lists every change with the values before and after",
    async () => {
      const entries = success(await second.GET(history, { params: { path } })).items;
      const actions = entries.map((entry) => entry.action);
      assert.deepEqual(actions, ["create", "update", "update", "update"]);
      assert.deepEqual(entries.map((entry) => entry.version), [1, 2, 3, 4]);
      assert.deepEqual(entries[2]?.changes?.name, { after: "Mine", before: "Alerts" });
      return entries;
    },
  );

  await step("at returns the object as it was at that time", async () => {
    const change = entries[2]?.date;
    assert.ok(change);
    const query = { at: new Date(Date.parse(change) - 1).toISOString() };
    const past = success(await second.GET(SHORT_CODE, { params: { path, query } }));
    assert.equal(past.name, "Alerts");
  });

  await step("revert writes an earlier version back as a new one", async () => {
    const sent = { params: { path }, body: { version: 1 } };
    assert.deepEqual(success(await first.POST(`${SHORT_CODE}/revert`, sent)), code);
    const params = { path, query: { offset: 4 } };
    const [entry] = success(await second.GET(history, { params })).items;
    assert.deepEqual([entry?.action, entry?.version], ["revert", 5]);
  });
}

/** Deletes both objects. */
async function remove(first: Api, second: Api, group: DidGroup, code: ShortCode): Promise<void> {
  await step("A deleted object is a 404 on the other instance", async () => {
    const codeParams = { path: { short_code_sid: code.short_code_sid } };
    const groupParams = { path: { did_group_sid: group.did_group_sid } };
    const deleted = await first.DELETE(SHORT_CODE, { params: codeParams });
    assert.equal(deleted.response.status, 204);
    const groupDeleted = await first.DELETE(DID_GROUP, { params: groupParams });
    assert.equal(groupDeleted.response.status, 204);
    failure(await second.GET(SHORT_CODE, { params: codeParams }), 404);
    failure(await second.GET(DID_GROUP, { params: groupParams }), 404);
  });
}

/** Creates a sub-partner, with a token of its own. */
async function delegate(first: Api, second: Api, secondUrl: string): Promise<void> {
  const token = await step(
    "A sub-partner is created, listed and changed, and sees nothing of its parent",
    async () => {
      const scopes: components["schemas"]["Scope"][] = ["phonenumber.manage"];
      const reseller = { name: "Reseller", available_scopes: scopes };
      const partner = success(await first.POST(PARTNERS, { body: reseller }));
      const path = { partner_sid: partner.partner_sid };
      const query = { filter: "name eq 'Reseller'" };
      const listed = success(await second.GET(PARTNERS, { params: { query } }));
      assert.deepEqual(listed.items, [partner]);
      const change = { company_name: "Reseller Ltd", country_code: "GBR" };
      success(await first.PATCH(PARTNER, { params: { path }, body: change }));
      const read = success(await second.GET(PARTNER, { params: { path } }));
      assert.deepEqual([read.company_name, read.country_code], ["Reseller Ltd", "GBR"]);
      const body = { name: "Reseller's token", access_token_expires_in: 600 };
      const request = { params: { path }, body, headers: FORM };
      const token = success(await first.POST("/core/v2/oauth/token/{partner_sid}", request));
      assert.deepEqual(token.scopes, scopes);
      assert.ok(token.access_token);
      const asReseller = connect(secondUrl, `Bearer ${token.access_token}`);
      assert.equal(success(await asReseller.GET(DID_GROUPS)).total, 0);
      return token.access_token;
    },
  );

  await step("A revoked token is rejected by the other instance within 5 seconds", async () => {
    const revoked = await first.POST("/core/v2/oauth/revoke", { body: { token }, headers: FORM });
    assert.equal(revoked.response.status, 204);
    const asReseller = connect(secondUrl, `Bearer ${token}`);
    const deadline = Date.now() + 5_000;
    let answer = await asReseller.GET(DID_GROUPS);
    while (answer.response.status !== 401 && Date.now() < deadline) {
      await sleep(100);
      answer = await asReseller.GET(DID_GROUPS);
    }
    assert.equal(failure(answer, 401).message, "unauthorized");
  });
}

const [firstUrl, secondUrl, clientFile] = process.argv.slice(2);
assert.ok(firstUrl && secondUrl && clientFile, "usage: steps.js FIRST_URL SECOND_URL CLIENT_FILE");
const { client_id, client_secret } = JSON.parse(readFileSync(clientFile, "utf8"));
const token = await authenticate(firstUrl, client_id, client_secret);
const first = connect(firstUrl, `Bearer ${token}`);
const second = connect(secondUrl, `Bearer ${token}`);
const [group, code] = await createAndRead(first, second);
await listAndSelect(first, second, code);
await update(first, second, group, code);
await handleErrors(first, second, group, code);
await lookBack(first, second, code);
await remove(first, second, group, code);
await delegate(first, second, secondUrl);
