/** The `curl` command of a request, with `$TOKEN` in place of the token. */

import { stringify } from "./json.js";

/**
 * @param {import("./api.js").Request} request
 * @param {string} url
 * @returns {string}
 */
export function curl(request, url) {
  const method = request.method ?? "GET";
  const parts = ["curl"];
  if (method !== "GET" && !(method === "POST" && "body" in request)) parts.push(`-X ${method}`);
  parts.push(quoted(url), '-H "Authorization: Bearer $TOKEN"');
  if (request.stream) parts.push("--no-buffer");
  for (const [name, value] of Object.entries(request.headers ?? {})) {
    parts.push(`-H ${quoted(`${name}: ${value}`)}`);
  }
  if (request.body !== undefined) {
    parts.push("-H 'Content-Type: application/json'", `-d ${quoted(stringify(request.body))}`);
  }
  return parts
    .join(" \\\n  ")
    .replace("curl \\\n  -X", "curl -X")
    .replace(/^curl \\\n {2}/, "curl ");
}

/**
 * A word for the shell that is nothing but its text.
 *
 * @param {string} text
 * @returns {string}
 */
export function quoted(text) {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
