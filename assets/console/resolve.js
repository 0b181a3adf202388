/** Where a number goes: number, code or DID, group, partner, and the URL that wins. */

import { denied, useAccess } from "./access.js";
import { CopyCurl, Heading, Loading, Problem } from "./parts.js";
import { READ_NUMBERS, RESOURCES } from "./resources.js";
import { link } from "./route.js";
import { call } from "./session.js";
import { html, useEffect, useId, useLoad, useRef } from "./ui.js";

const TITLE = "Where does this number go?";

/** The view with the box for a number, and the answer. */
export function ResolveView({ query }) {
  const reason = denied(useAccess(), READ_NUMBERS);
  const { number } = query;
  const request = { path: "phonenumber/resolve", query: { number } };
  return html`<${Heading} title=${TITLE}>
      ${number && html`<${CopyCurl} request=${request} />`}
    <//>
    ${
      reason
        ? html`<p class="empty">This token cannot look up numbers: it ${reason}.</p>`
        : html`<${NumberForm} number=${number} />`
    }
    ${!reason && number && html`<${Answer} request=${request} number=${number} />`}`;
}

function NumberForm({ number }) {
  const id = useId();
  const input = useRef(null);
  useEffect(() => {
    input.current.value = number ?? "";
  }, [number]);
  const submit = (event) => {
    event.preventDefault();
    location.hash = link("resolve", null, { number: input.current.value.trim() });
  };
  return html`<form class="filter" onSubmit=${submit}>
    <label for=${id}>Phone number with country code, or short code</label>
    <div class="row">
      <input id=${id} ref=${input} type="tel" autocomplete="off"
        placeholder="+1 516-206-5574 or 26399" />
      <button type="submit" class="primary">Look up</button>
    </div>
  </form>`;
}

function Answer({ request, number }) {
  const access = useAccess();
  const load = (signal) => chainOf(request, access, signal);
  const { data, error, loading } = useLoad(load, [number]);
  if (loading) return html`<${Loading} />`;
  if (error?.status === 404) {
    return html`<p class="empty" role="status">
      This token can see no DID and no short code <strong>${number}</strong>.
    </p>`;
  }
  if (error) return html`<${Problem} error=${error} />`;
  return html`<${Chain} ...${data} number=${number} />`;
}

/** The answer, and the objects that it names as far as the token can read them. */
async function chainOf(request, access, signal) {
  const { data: answer } = await call(request, signal);
  const isCode = request.query.number.replace(/\D/g, "").length <= 8;
  const kind = isCode ? "short_codes" : "dids";
  const read = async (view, sid) => {
    if (!sid || denied(access, RESOURCES[view].read)) return null;
    return (await call({ path: `${RESOURCES[view].path}/${sid}` }, signal)).data;
  };
  const [object, group, partner] = await Promise.all([
    read(kind, answer.sid),
    read("did_groups", answer.did_group_sid),
    read("partners", answer.partner_sid),
  ]);
  return { answer, kind, object, group, partner };
}

const REASONS = {
  did: "The DID has a callback URL of its own, which comes first.",
  short_code: "The short code has a callback URL of its own, which comes first.",
  did_group: "It has no callback URL of its own, so that of its DID group is used.",
  partner: "Neither it nor a DID group has a callback URL, so that of the partner is used.",
  none: "Neither it, nor a DID group, nor the partner has a callback URL.",
  suspended: "The partner is suspended.",
};

function Chain({ answer, kind, object, group, partner, number }) {
  const { source } = answer;
  const own = kind === "dids" ? "did" : "short_code";
  const steps = [
    step(kind, answer.sid, object, object?.callback_url, source === own),
    step("did_groups", answer.did_group_sid, group, group?.callback_url, source === "did_group"),
    step("partners", answer.partner_sid, partner, partner?.callbacks?.sms, source === "partner"),
  ];
  return html`<div role="status">
      <p class="verdict">
        <strong>${number}</strong>${" "}
        ${
          answer.callback_url
            ? html`goes to <strong class="url">${answer.callback_url}</strong>`
            : "goes nowhere."
        }
      </p>
      <p>${REASONS[source] ?? ""}</p>
    </div>
    <ol class="chain">${steps.map((one) => html`<${Step} key=${one.view} ...${one} />`)}</ol>`;
}

function step(view, sid, object, url, wins) {
  return { view, sid, object, url, wins };
}

function Step({ view, sid, object, url, wins }) {
  const { one, read } = RESOURCES[view];
  const reason = denied(useAccess(), read);
  const callback = reason
    ? html`<span class="reason">${reason} to show its URL</span>`
    : url
      ? html`<span class="url">${url}</span>`
      : html`<span class="none">no callback URL</span>`;
  return html`<li class=${wins ? "wins" : ""}>
    <span class="kind">${one}</span>
    ${
      sid
        ? html`<a href=${link(view, sid)}>${nameOf(object, sid)}</a>`
        : html`<span class="none">none</span>`
    }
    ${sid && callback} ${wins && html`<span class="badge">this URL wins</span>`}
  </li>`;
}

function nameOf(object, sid) {
  if (!object) return sid;
  const number = object.short_code ?? object.phonenumber;
  return number ? `${number}, ${object.name}` : object.name;
}
