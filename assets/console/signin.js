/** The page before somebody has signed in, and after Lock. */

import { Problem } from "./parts.js";
import { signInWithPassword, signInWithToken } from "./session.js";
import { html, useAction, useId } from "./ui.js";

/**
 * @param {object} properties
 * @param {{mode: string, demo_token: string | null}} properties.settings
 * @param {string} properties.reason why the session has ended
 * @param {(session: import("./session.js").Session) => void} properties.onOpen
 */
export function SignIn({ settings, reason, onOpen }) {
  const { run, busy, error } = useAction();
  const open = (signIn) => run(async () => onOpen(await signIn()));
  return html`<main class="signin">
    <h1>Shortline console</h1>
    ${reason && html`<p class="notice" role="status">${reason}</p>`}
    ${
      settings.demo_token &&
      html`<section class="demo">
      <p>This is a demo with sample data.</p>
      <button type="button" class="primary" disabled=${busy}
        onClick=${() => open(() => signInWithToken(settings.demo_token))}>
        Use the demo token
      </button>
    </section>`
    }
    <${Problem} error=${error && explained(error)} />
    <${PasswordForm} busy=${busy}
      onSubmit=${(login, password) => open(() => signInWithPassword(login, password))} />
    <${TokenForm} busy=${busy} onSubmit=${(token) => open(() => signInWithToken(token))} />
    <p class="hint">
      The token stays in the memory of this page. It is forgotten when you press Lock, after 15
      minutes without input, and when the page is closed.
    </p>
    <p class="hint">The operator creates logins: <code>shortline login create</code></p>
  </main>`;
}

function PasswordForm({ busy, onSubmit }) {
  const id = useId();
  const submit = (event) => {
    event.preventDefault();
    const { login, password } = event.target.elements;
    onSubmit(login.value, password.value);
    password.value = "";
  };
  return html`<form onSubmit=${submit}>
    <h2>With a login</h2>
    <label for=${`${id}-login`}>Login</label>
    <input id=${`${id}-login`} name="login" autocomplete="username"
      autocapitalize="none" required />
    <label for=${`${id}-password`}>Password</label>
    <input id=${`${id}-password`} name="password" type="password"
      autocomplete="current-password" required />
    <button type="submit" disabled=${busy}>Sign in</button>
  </form>`;
}

function TokenForm({ busy, onSubmit }) {
  const id = useId();
  const submit = (event) => {
    event.preventDefault();
    const { token } = event.target.elements;
    onSubmit(token.value.trim());
    token.value = "";
  };
  return html`<form onSubmit=${submit}>
    <h2>With a token</h2>
    <label for=${id}>Bearer token</label>
    <input id=${id} name="token" type="password" autocomplete="off" spellcheck="false" required />
    <button type="submit" disabled=${busy}>Use this token</button>
  </form>`;
}

function explained(error) {
  if (error.status !== 401 && error.status !== 400) return error;
  return { message: "This login, password or token is not valid", errors: [] };
}
