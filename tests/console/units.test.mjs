// The parts of the console that need no browser, for scripts/console-test:
//
//   node --test tests/console/units.test.mjs
import assert from "node:assert/strict";
import { test } from "node:test";

import { denied } from "../../assets/console/access.js";
import { urlOf } from "../../assets/console/api.js";
import { curl, quoted } from "../../assets/console/curl.js";
import { changes, merged, threeWay, withValue } from "../../assets/console/diff.js";
import { patchOf } from "../../assets/console/edit.js";
import { positionOf } from "../../assets/console/filter.js";
import { same } from "../../assets/console/json.js";
import { listRequest, neighbours, nextOrder } from "../../assets/console/list.js";
import { filterOf, filterText, RESOURCES } from "../../assets/console/resources.js";
import { link, parseRoute } from "../../assets/console/route.js";

const SID = "531f65b7-dff7-42b4-b638-597f91da9ccc";
const codes = RESOURCES.short_codes;

test("the order of members is no difference", () => {
  assert.ok(same({ a: 1, b: { c: 2, d: 3 } }, { b: { d: 3, c: 2 }, a: 1 }));
  assert.ok(!same([1, 2], [2, 1]));
  assert.ok(!same({ a: null }, {}));
});

test("changes name the innermost member that differs", () => {
  const before = { name: "a", attributes: { x: { y: 1, z: 2 }, old: true } };
  const after = { name: "b", attributes: { x: { y: 1, z: 3 }, added: null } };
  assert.deepEqual(changes(before, after), [
    { path: ["name"], before: "a", after: "b" },
    { path: ["attributes", "x", "z"], before: 2, after: 3 },
    { path: ["attributes", "old"], before: true, after: undefined },
    { path: ["attributes", "added"], before: undefined, after: null },
  ]);
});

test("a merge retains what only one side changed", () => {
  const base = { name: "a", attributes: { x: 1, y: 1, gone: 1 }, state: "IL" };
  const mine = { name: "mine", attributes: { x: 2, y: 1 }, state: "IL" };
  const theirs = { name: "a", attributes: { x: 1, y: 3, gone: 1, added: 4 }, state: "NY" };
  const rows = threeWay(base, mine, theirs);
  assert.deepEqual(
    rows.map(({ path, source }) => [path.join("."), source]),
    [
      ["name", "mine"],
      ["attributes.x", "mine"],
      ["attributes.y", "theirs"],
      ["attributes.gone", "mine"],
      ["attributes.added", "theirs"],
      ["state", "theirs"],
    ],
  );
  assert.deepEqual(merged(theirs, rows, assert.fail), {
    name: "mine",
    attributes: { x: 2, y: 3, added: 4 },
    state: "NY",
  });
});

test("a member that both sides changed differently is a conflict", () => {
  const rows = threeWay({ a: 1, b: 1 }, { a: 2, b: 5 }, { a: 3, b: 5 });
  assert.deepEqual(
    rows.map(({ source }) => source),
    ["conflict", "both"],
  );
  assert.deepEqual(
    merged({ a: 3, b: 5 }, rows, () => true),
    { a: 2, b: 5 },
  );
  assert.deepEqual(
    merged({ a: 3, b: 5 }, rows, () => false),
    { a: 3, b: 5 },
  );
});

test("a change inside an object that the other side removed is a conflict", () => {
  const [row] = threeWay({ o: { x: 1 } }, { o: { x: 2 } }, {});
  assert.deepEqual([row.path, row.source], [["o"], "conflict"]);
});

test("lists are merged as a whole", () => {
  const [row] = threeWay({ l: [1] }, { l: [1, 2] }, { l: [0, 1] });
  assert.equal(row.source, "conflict");
});

test("a member can have any name", () => {
  const base = JSON.parse('{"__proto__": {"x": 1}, "constructor": 2}');
  const mine = JSON.parse('{"__proto__": {"x": 2}, "constructor": 2}');
  const result = merged(base, threeWay(base, mine, base), assert.fail);
  assert.equal(JSON.stringify(result), '{"__proto__":{"x":2},"constructor":2}');
  assert.equal(JSON.stringify(withValue({}, ["__proto__"], 1)), '{"__proto__":1}');
  assert.deepEqual(changes({}, JSON.parse('{"toString": 1}')), [
    { path: ["toString"], before: undefined, after: 1 },
  ]);
});

test("a patch has only the members that differ and that can be changed", () => {
  const base = { name: "a", callback_url: null, state: "IL", attributes: { a: 1 } };
  const draft = { name: "b", callback_url: null, state: "NY", attributes: { a: 1 } };
  assert.deepEqual(patchOf(codes, base, draft), { name: "b" });
});

test("a word searches, and anything else is a filter", () => {
  assert.equal(filterOf(codes, " 263 "), 'short_code like "263%"');
  assert.equal(filterOf(codes, "vote"), 'name ilike "%vote%"');
  assert.equal(filterOf(codes, '"two words"'), 'name ilike "%two words%"');
  assert.equal(filterOf(codes, SID), `short_code_sid eq ${SID}`);
  assert.equal(filterOf(codes, "name equals Votes"), "name equals Votes");
  assert.equal(filterOf(codes, ""), "");
  assert.equal(filterOf(RESOURCES.endpoints, "hook"), 'url ilike "%hook%"');
});

test("quotes and backslashes in a search are escaped", () => {
  assert.equal(filterText('a"b\\c'), '"a\\"b\\\\c"');
  assert.equal(filterOf(codes, '"'), 'name ilike "%\\"%"');
});

test("the position of an error in a filter is read from its message", () => {
  assert.equal(positionOf("at position 6: expected one of eq, ne"), 6);
  assert.equal(positionOf("too slow"), null);
  assert.equal(positionOf(undefined), null);
});

test("unsorted pages use a keyset, sorted ones an offset", () => {
  const query = { after: SID, offset: "50" };
  assert.equal(listRequest(codes, query).query.after, SID);
  assert.equal(listRequest(codes, query).query.offset, undefined);
  const sorted = listRequest(codes, { ...query, order: "name" }).query;
  assert.deepEqual([sorted.after, sorted.offset], [undefined, "50"]);
});

test("the neighbours of a page are those that the server names", () => {
  const items = [{ short_code_sid: "first" }, { short_code_sid: "last" }];
  const pagination = { next: "...", previous: "..." };
  assert.deepEqual(neighbours(codes, { filter: "x" }, { items, pagination }), {
    previous: { filter: "x", before: "first" },
    next: { filter: "x", after: "last" },
  });
  const sorted = { order: "name", offset: "50" };
  assert.deepEqual(neighbours(codes, sorted, { items, pagination: {} }), {
    previous: { order: "name" },
    next: null,
  });
});

test("a click on a column sorts up, down and not", () => {
  assert.equal(nextOrder(undefined, "name"), "name");
  assert.equal(nextOrder("name", "name"), "name desc");
  assert.equal(nextOrder("name desc", "name"), undefined);
  assert.equal(nextOrder("state", "name"), "name");
});

test("the fragment of the URL has the whole view", () => {
  const query = { filter: 'name like "a&b#%"', order: "name desc" };
  const fragment = link("dids", SID, { ...query, offset: undefined });
  assert.deepEqual(parseRoute(fragment), { view: "dids", sid: SID, query });
  assert.deepEqual(parseRoute(""), { view: "short_codes", sid: null, query: {} });
});

test("curl commands quote everything but the token", () => {
  const request = {
    method: "PATCH",
    path: "x",
    headers: { "If-Match": '"1"' },
    body: { a: "it's $HOME" },
  };
  assert.equal(
    curl(request, "http://host/x?a=b&c"),
    [
      "curl -X PATCH \\",
      "  'http://host/x?a=b&c' \\",
      '  -H "Authorization: Bearer $TOKEN" \\',
      `  -H 'If-Match: "1"' \\`,
      "  -H 'Content-Type: application/json' \\",
      `  -d '{"a":"it'\\''s $HOME"}'`,
    ].join("\n"),
  );
  assert.equal(quoted("a'b"), "'a'\\''b'");
});

test("query strings leave out what is not set", () => {
  const query = { filter: "a eq b&c", after: undefined, order: "" };
  assert.match(urlOf({ path: "x", query }), /\/x\?filter=a%20eq%20b%26c$/);
});

test("a missing scope is named, and a read-only console allows no write", () => {
  const session = { scopes: ["phonenumber.read"] };
  const scopes = ["phonenumber.update", "phonenumber.manage"];
  assert.equal(denied({ session, readOnly: false }, codes.read), null);
  assert.equal(denied({ session, readOnly: false }, scopes, true), "needs phonenumber.update");
  const all = { session: { scopes }, readOnly: true };
  assert.equal(denied(all, scopes, true), "read-only console");
  assert.equal(denied(all, scopes), null);
});
