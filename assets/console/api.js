/** Requests to the public API, and nothing else. */

import { parse, stringify } from "./json.js";

/**
 * @typedef {object} Request
 * @property {string} path below /core/v2/
 * @property {string} [method] GET by default
 * @property {Record<string, string | number | undefined>} [query]
 * @property {unknown} [body] sent as JSON
 * @property {Record<string, string>} [form] sent as a form
 * @property {Record<string, string>} [headers]
 * @property {boolean} [stream] the response is read while it arrives
 *
 * @typedef {{data: any, etag: string | null, response: Response}} Answer
 */

// The page may be open under another URL than the public one of the service.
const root = new URL("../core/v2/", import.meta.url).href;

/** An error response, or none at all. */
export class ApiError extends Error {
  /**
   * @param {number} status 0 without a response
   * @param {string} message
   * @param {{field: string | null, message: string}[]} errors
   */
  constructor(status, message, errors = []) {
    super(message);
    this.status = status;
    this.errors = errors;
  }

  /** The message for one member or parameter. */
  of(field) {
    return this.errors.find((error) => error.field === field)?.message;
  }
}

/**
 * @param {Request} request
 * @returns {string}
 */
export function urlOf({ path, query = {} }) {
  const given = Object.entries(query).filter(([, value]) => value !== undefined && value !== "");
  const text = given.map(([name, value]) => `${name}=${encodeURIComponent(value)}`).join("&");
  return `${root}${path}${text && `?${text}`}`;
}

/**
 * Sends a request.
 *
 * @param {Request} request
 * @param {string | null} token
 * @param {AbortSignal} [signal]
 * @returns {Promise<Answer>}
 * @throws {ApiError} for every response that is not a 2xx
 */
export async function send(request, token, signal) {
  const response = await received(request, token, signal);
  if (request.stream && response.ok) return { data: null, etag: null, response };
  const text = await response.text();
  const data = text && isJson(response) ? parse(text) : null;
  if (!response.ok) throw failure(response, data);
  return { data, etag: response.headers.get("etag"), response };
}

async function received(request, token, signal) {
  const { method = "GET", body, form, headers } = request;
  const all = { ...headers };
  if (token) all.Authorization = `Bearer ${token}`;
  if (body !== undefined) all["Content-Type"] = "application/json";
  const content = form
    ? new URLSearchParams(form)
    : body === undefined
      ? undefined
      : stringify(body);
  const options = { method, headers: all, body: content, signal, cache: "no-store" };
  try {
    return await fetch(urlOf(request), { ...options, credentials: "omit", redirect: "error" });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new ApiError(0, "no response from Shortline; check the connection and try again");
  }
}

function isJson(response) {
  return response.headers.get("content-type")?.includes("json");
}

function failure(response, data) {
  const { message = `status ${response.status}`, errors = [] } = data ?? {};
  return new ApiError(response.status, message, errors);
}
