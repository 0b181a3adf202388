/**
 * Differences between versions of an object, and the merge of two changes of one version. A member
 * that does not exist is `undefined`, which no JSON value is.
 */

import { isObject, same } from "./json.js";

/**
 * @typedef {{path: string[], before: unknown, after: unknown}} Change
 * @typedef {"mine" | "theirs" | "both" | "conflict"} Source
 * @typedef {{path: string[], base: unknown, mine: unknown, theirs: unknown, source: Source}} Row
 */

/**
 * The members that differ, inside nested objects too.
 *
 * @param {unknown} before
 * @param {unknown} after
 * @param {string[]} [path]
 * @returns {Change[]}
 */
export function changes(before, after, path = []) {
  if (same(before, after)) return [];
  if (!isObject(before) || !isObject(after)) return [{ path, before, after }];
  return names(before, after).flatMap((name) =>
    changes(member(before, name), member(after, name), [...path, name]),
  );
}

/**
 * The members that differ in an entry of a history or in an event.
 *
 * @param {Record<string, {before: unknown, after: unknown}>} entry
 * @returns {Change[]}
 */
export function recorded(entry) {
  return Object.entries(entry).flatMap(([name, { before, after }]) =>
    changes(before, after, [name]),
  );
}

/**
 * The members that somebody changed since `base`. One that both changed, and differently, is a
 * conflict.
 *
 * @param {unknown} base
 * @param {unknown} mine
 * @param {unknown} theirs
 * @param {string[]} [path]
 * @returns {Row[]}
 */
export function threeWay(base, mine, theirs, path = []) {
  if (same(base, mine) && same(base, theirs)) return [];
  if ([base, mine, theirs].every(isObject)) {
    return names(base, theirs, mine).flatMap((name) =>
      threeWay(member(base, name), member(mine, name), member(theirs, name), [...path, name]),
    );
  }
  return [{ path, base, mine, theirs, source: source(base, mine, theirs) }];
}

function source(base, mine, theirs) {
  if (same(mine, theirs)) return "both";
  if (same(base, mine)) return "theirs";
  return same(base, theirs) ? "mine" : "conflict";
}

/**
 * `theirs` with what only I changed, and with the conflicts that are decided for me.
 *
 * @param {unknown} theirs
 * @param {Row[]} rows
 * @param {(row: Row) => boolean} isMine decides a conflict
 * @returns {unknown}
 */
export function merged(theirs, rows, isMine) {
  const mine = rows.filter(
    (row) => row.source === "mine" || (row.source === "conflict" && isMine(row)),
  );
  return mine.reduce((object, row) => withValue(object, row.path, row.mine), theirs);
}

/**
 * A copy with another value at a path. `undefined` removes the member.
 *
 * @param {unknown} object
 * @param {string[]} path
 * @param {unknown} value
 * @returns {unknown}
 */
export function withValue(object, [name, ...rest], value) {
  if (name === undefined) return value;
  const entries = isObject(object) ? Object.entries(object) : [];
  const old = entries.find(([key]) => key === name);
  const inner = withValue(old?.[1], rest, value);
  // Not by assignment, which would set the prototype for `__proto__`.
  if (inner === undefined) return Object.fromEntries(entries.filter(([key]) => key !== name));
  if (!old) return Object.fromEntries([...entries, [name, inner]]);
  return Object.fromEntries(entries.map(([key, kept]) => [key, key === name ? inner : kept]));
}

/**
 * The path as in a filter: `attributes.campaign.id`.
 *
 * @param {string[]} path
 * @returns {string}
 */
export function pathText(path) {
  return path.join(".");
}

/**
 * A key for the path, which no other path has: names can contain dots.
 *
 * @param {string[]} path
 * @returns {string}
 */
export function pathKey(path) {
  return JSON.stringify(path);
}

function names(...objects) {
  return [...new Set(objects.flatMap((object) => Object.keys(object)))];
}

function member(object, name) {
  return Object.hasOwn(object, name) ? object[name] : undefined;
}
