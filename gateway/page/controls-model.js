// Controls whose choices are those of the model that is chosen.

import { html } from "./vendor/preact.js";
import { Select } from "./controls.js";
import { isSet } from "./fields.js";
import { Labelled, type } from "./labelled.js";
import { SAMPLERS, familyOf } from "./models.js";
import { setValue } from "./store.js";

export const Family = ({ field, id, value, state }) =>
  html`<${Labelled} id=${id} label=${field.label}>
    <select id=${id} onChange=${type(field.path)}>
      <option value="" selected=${!value}>
        ${state.families[0] ? `${state.families[0].name} (default)` : "Default"}
      </option>
      ${state.families.slice(1).map(({ name, ready }) => html`<option value=${name} selected=${value === name}>${name}${ready ? "" : " (not ready)"}</option>`)}
    </select>
  <//>`;

// The samplers of the model that is chosen.
export function Sampler({ field, id, value, state }) {
  const family = familyOf(state);
  const options = [
    ["", family ? `${SAMPLERS[family.sampler] ?? family.sampler} (default)` : "Model’s default"],
    ...(family?.samplers ?? Object.keys(SAMPLERS)).map((name) => [name, SAMPLERS[name] ?? name]),
  ];
  return html`<${Select} field=${{ ...field, options }} id=${id} value=${value} />`;
}

export function Weights({ field, id, value, state }) {
  const family = familyOf(state);
  const options = [
    ["", family ? `As the model: ${family.prompt_weights ? "weights" : "text"}` : "As the model"],
    ["true", "Weights: (word:1.3), [word]"],
    ["false", "Text"],
  ];
  return html`<${Select} field=${{ ...field, options }} id=${id} value=${value} />`;
}

export function ClipSkip({ field, id, value, state }) {
  const most = familyOf(state)?.max_clip_skip ?? 0;
  const hint = most ? "Last layers of the text encoders that are left out." : "This model cannot leave out any layer.";
  return html`<${Labelled} id=${id} label=${field.label} hint=${hint}>
    <select id=${id} disabled=${!most && !isSet(value)} onChange=${type(field.path)}>
      ${["", ...Array.from({ length: Math.max(most, Number(value) || 0) }, (_, at) => String(at + 1))].map(
        (name) =>
          html`<option key=${name} value=${name} selected=${name === String(value ?? "")}>${name || "None"}</option>`,
      )}
    </select>
  <//>`;
}

// value: [{name, weight}], as the request has it.
export function Loras({ field, id, value, state }) {
  const chosen = value ?? [];
  const known = familyOf(state)?.loras ?? [];
  const others = chosen.filter(({ name }) => !known.some((each) => each.name === name)); // of another model
  const toggle = (name) => () =>
    setValue(
      field.path,
      chosen.some((each) => each.name === name) ? chosen.filter((each) => each.name !== name) : [...chosen, { name }],
    );
  const weigh = (name) => (event) =>
    setValue(
      field.path,
      chosen.map((each) => (each.name === name ? { name, weight: Number(event.target.value) } : each)),
    );
  const row = ({ name, weight: own = 1 }) => {
    const found = chosen.find((each) => each.name === name);
    return html`<div key=${name} class=${`enhancement${found ? " on" : ""}`}>
      <label class="check"
        ><input
          type="checkbox"
          checked=${Boolean(found)}
          disabled=${!found && chosen.length >= field.most}
          onChange=${toggle(name)}
        /><span>${name}</span></label
      >
      ${
        found &&
        html`<label class="inline-range"
          ><span>Weight ${found.weight ?? own}</span
          ><input type="range" min="-4" max="4" step="0.05" value=${found.weight ?? own} onInput=${weigh(name)}
        /></label>`
      }
    </div>`;
  };
  return html`<div class="field" id=${id} role="group" aria-labelledby=${`${id}-label`}>
    <p class="label" id=${`${id}-label`}>
      <span>${field.label}</span>${known.length > 0 && html`<em>up to ${field.most}</em>`}
    </p>
    ${[...known, ...others].map(row)}
    ${!known.length && html`<p class="hint">${state.account ? "This model has no LoRAs." : "Enter a key: the model says which it has."}</p>`}
  </div>`;
}
