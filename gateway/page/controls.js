// Controls of one value, whatever the model.

import { html } from "./vendor/preact.js";
import { isSet } from "./fields.js";
import { Icon } from "./icons.js";
import { Labelled, type } from "./labelled.js";
import { familyOf } from "./models.js";
import { randomSeed } from "./seeds.js";
import { setValue } from "./store.js";

export const Text = ({ field, id, value }) =>
  html`<${Labelled} id=${id} label=${field.label} hint=${field.hint}>
    <input
      id=${id}
      type="text"
      value=${value ?? ""}
      placeholder=${field.placeholder}
      onInput=${type(field.path)}
      autocomplete="off"
      spellcheck="false"
    />
  <//>`;

export const TextArea = ({ field, id, value }) =>
  html`<${Labelled} id=${id} label=${field.label} hint=${field.hint}>
    <textarea
      id=${id}
      dir="auto"
      rows="2"
      placeholder=${field.placeholder}
      onInput=${type(field.path)}
      value=${value ?? ""}
    ></textarea>
  <//>`;

export function NumberField({ field, id, value, state }) {
  const family = familyOf(state);
  const placeholder = field.family && family ? String(family[field.family]) : field.placeholder;
  return html`<${Labelled} id=${id} label=${field.label} hint=${field.hint}>
    <input
      id=${id}
      type="number"
      inputmode="decimal"
      min=${field.min}
      max=${field.max}
      step=${field.step ?? 1}
      value=${value ?? ""}
      placeholder=${placeholder}
      onInput=${type(field.path)}
    />
  <//>`;
}

export function Range({ field, id, value }) {
  const reset =
    isSet(value) &&
    html`<button
      type="button"
      class="mini"
      onClick=${() => setValue(field.path, "")}
      aria-label=${`${field.label}: default`}
    >
      Reset
    </button>`;
  return html`<${Labelled}
    id=${id}
    label=${field.label}
    hint=${field.hint}
    side=${html`<output for=${id}>${isSet(value) ? value : `${field.initial}`}</output>`}
  >
    <div class="range">
      <input
        id=${id}
        type="range"
        min=${field.min}
        max=${field.max}
        step=${field.step}
        value=${isSet(value) ? value : field.initial}
        onInput=${type(field.path)}
      />${reset}
    </div>
  <//>`;
}

export const Select = ({ field, id, value }) =>
  html`<${Labelled} id=${id} label=${field.label} hint=${field.hint}>
    <select id=${id} value=${value ?? field.options[0][0]} onChange=${type(field.path)}>
      ${field.options.map(([name, label]) => html`<option value=${name} selected=${name === (value ?? field.options[0][0])}>${label}</option>`)}
    </select>
  <//>`;

export const Suggest = ({ field, id, value }) =>
  html`<${Labelled} id=${id} label=${field.label}>
    <input
      id=${id}
      type="text"
      list=${`${id}-list`}
      value=${value ?? ""}
      placeholder=${field.placeholder}
      onInput=${type(field.path)}
      autocomplete="off"
      spellcheck="false"
    />
    <datalist id=${`${id}-list`}>${field.options.map((name) => html`<option value=${name} />`)}</datalist>
  <//>`;

export const Check = ({ field, id, value }) =>
  html`<label class="check" for=${id}
    ><input
      id=${id}
      type="checkbox"
      checked=${Boolean(value)}
      onChange=${(event) => setValue(field.path, event.target.checked)}
    /><span>${field.label}</span></label
  >`;

export const Side = ({ field, id, value, state }) =>
  html`<${Labelled} id=${id} label=${field.label}>
    <input
      id=${id}
      type="text"
      inputmode="text"
      value=${value ?? ""}
      placeholder=${field.placeholder ?? (state.form.task === "text" ? "512" : "px or %")}
      onInput=${type(field.path)}
      autocomplete="off"
    />
  <//>`;

export const Seed = ({ field, id, value }) =>
  html`<${Labelled} id=${id} label=${field.label}>
    <div class="joined">
      <input
        id=${id}
        type="text"
        inputmode="numeric"
        pattern="[0-9]*"
        value=${value ?? ""}
        placeholder="Random"
        onInput=${type(field.path)}
        autocomplete="off"
      />
      <button
        type="button"
        id="dice"
        onClick=${() => setValue(field.path, randomSeed())}
        aria-label="New random seed"
        title="New random seed"
      >
        <${Icon} name="dice" />
      </button>
      ${isSet(value) && html`<button type="button" id="seed-clear" onClick=${() => setValue(field.path, "")} aria-label="Random seed each time" title="Random each time"><${Icon} name="cancel" /></button>`}
    </div>
  <//>`;

export function Count({ field, id, value }) {
  const count = Number(value) || 1;
  const step = (by) => () => setValue(field.path, String(Math.min(field.max, Math.max(field.min, count + by))));
  return html`<${Labelled} id=${id} label=${field.label}>
    <div class="joined">
      <button type="button" onClick=${step(-1)} disabled=${count <= field.min} aria-label="One picture fewer">−</button>
      <input
        id=${id}
        type="number"
        min=${field.min}
        max=${field.max}
        value=${value === "" ? "" : count}
        onInput=${type(field.path)}
        onBlur=${() => value === "" && setValue(field.path, undefined)}
      />
      <button type="button" onClick=${step(1)} disabled=${count >= field.max} aria-label="One picture more">+</button>
    </div>
  <//>`;
}

export function Color({ field, id, value }) {
  const hex = /^#[0-9a-f]{6}$/i.test(value ?? "") ? value : "#ffffff";
  return html`<${Labelled} id=${id} label=${field.label} hint=${field.hint}>
    <div class="joined">
      <input type="color" value=${hex} onInput=${type(field.path)} aria-label=${`${field.label}: choose`} />
      <input
        id=${id}
        type="text"
        value=${value ?? ""}
        placeholder="auto, white, #ff8800 …"
        onInput=${type(field.path)}
        autocomplete="off"
        spellcheck="false"
      />
    </div>
  <//>`;
}
