// What all controls share: a label, a hint, and how typing is kept.

import { html } from "./vendor/preact.js";
import { setValue } from "./store.js";

export const type = (path) => (event) => setValue(path, event.target.value);

export function Labelled({ id, label, hint, side, children }) {
  return html`<div class="field">
    <label for=${id}><span>${label}</span>${side}</label
    >${children}${hint && html`<p class="hint" id=${`${id}-hint`}>${hint}</p>`}
  </div>`;
}
