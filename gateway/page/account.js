// The key, and whose it is.

import { html, useState } from "./vendor/preact.js";
import { Icon } from "./icons.js";
import { signIn } from "./session.js";
import { set } from "./store.js";

export function KeyForm({ state }) {
  const [key, setKey] = useState(state.key);
  const [remember, setRemember] = useState(state.remember);
  const send = (event) => {
    event.preventDefault();
    signIn(key.trim(), remember).then(() => set(({ account }) => ({ signingIn: !account })));
  };
  return html`<form class="key" id="key-form" aria-label="API key" onSubmit=${send}>
    <div class="field">
      <label for="key"><span>API key</span></label>
      <div class="joined">
        <input
          id="key"
          type="password"
          autocomplete="off"
          spellcheck="false"
          value=${key}
          placeholder="ig_…"
          onInput=${(event) => setKey(event.target.value)}
        />
        <button id="connect" type="submit" class="primary small">Connect</button>
      </div>
    </div>
    ${state.keyProblem && html`<p class="problem" id="key-problem" role="alert">${state.keyProblem}</p>`}
    <label class="check" for="remember"
      ><input
        id="remember"
        type="checkbox"
        checked=${remember}
        onChange=${(event) => setRemember(event.target.checked)}
      /><span>Keep it in this browser</span></label
    >
    <p class="quiet">After <code>make up</code> it is in the file <code>.local/api-key</code>.</p>
  </form>`;
}

const creditsOf = ({ credits }) =>
  credits === null ? "credits not counted" : `${Math.floor(credits * 1000) / 1000} credits`;

export function AccountButton({ state }) {
  const { account } = state;
  return html`<button
    type="button"
    id="account"
    class="button"
    aria-expanded=${Boolean(state.signingIn)}
    onClick=${() => set({ signingIn: !state.signingIn })}
  >
    <${Icon}
      name="key"
    />${account ? html`<span>${account.username}</span><span class="quiet wide-only">${creditsOf(account)}</span>` : html`<span>Enter a key</span>`}
  </button>`;
}
