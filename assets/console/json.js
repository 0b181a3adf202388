/**
 * JSON whose numbers retain their digits: 9007199254740993 and 1.10 come back as they were. Such a
 * number is a raw JSON value, any other one is a number.
 */

/** True if this browser can do that. */
export const isSupported = typeof JSON.rawJSON === "function";

/**
 * @param {string} text
 * @returns {unknown}
 */
export function parse(text) {
  return JSON.parse(text, (_, value, context) => {
    const isExact = typeof value !== "number" || String(value) === context.source;
    return isExact ? value : JSON.rawJSON(context.source);
  });
}

/**
 * @param {unknown} value
 * @param {number} [indent]
 * @returns {string}
 */
export function stringify(value, indent) {
  return JSON.stringify(value, null, indent);
}

/**
 * @param {unknown} value
 * @returns {boolean}
 */
export function isNumber(value) {
  return typeof value === "number" || isRaw(value);
}

/**
 * True for an object with members, which lists and raw numbers are not.
 *
 * @param {unknown} value
 * @returns {boolean}
 */
export function isObject(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value) && !isRaw(value);
}

function isRaw(value) {
  return isSupported && JSON.isRawJSON(value);
}

/**
 * True if both are the same JSON, in any order of the members.
 *
 * @param {unknown} a
 * @param {unknown} b
 * @returns {boolean}
 */
export function same(a, b) {
  return canonical(a) === canonical(b);
}

function canonical(value) {
  if (Array.isArray(value)) return `[${value.map(canonical)}]`;
  if (!isObject(value)) return JSON.stringify(value);
  const members = Object.entries(value).filter(([, member]) => member !== undefined);
  const texts = members.map(([name, member]) => `${JSON.stringify(name)}:${canonical(member)}`);
  return `{${texts.sort()}}`;
}
