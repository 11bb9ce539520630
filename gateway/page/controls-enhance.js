// Controls of what is enhanced: each with its level, or a preset for all of it.

import { html } from "./vendor/preact.js";
import { PRESETS } from "./fields-enhance.js";
import { isSet } from "./fields.js";
import { Labelled, type } from "./labelled.js";
import { setValue } from "./store.js";

export function Enhancement({ field, id, state }) {
  const { values } = state.form;
  const chosen = values.enhancements ?? [];
  const on = chosen.includes(field.name);
  const toggle = () =>
    setValue("enhancements", on ? chosen.filter((name) => name !== field.name) : [...chosen, field.name]);
  const level = `${field.name}_parameters.level`;
  const way = `${field.name}_parameters.type`;
  const initial = field.name === "face_enhance" ? 0.5 : 1;
  const skin = "face_enhance_parameters.smoothing_level";
  const slide = (path, label, start) =>
    html`<label class="inline-range"
      ><span>${label}</span
      ><input
        type="range"
        min="0"
        max="1"
        step="0.05"
        value=${isSet(values[path]) ? values[path] : start}
        onInput=${(event) => setValue(path, Number(event.target.value))}
    /></label>`;
  return html`<div class=${`enhancement${on ? " on" : ""}`}>
    <label class="check" for=${id}
      ><input id=${id} type="checkbox" checked=${on} onChange=${toggle} /><span>${field.label}</span></label
    >
    ${
      on &&
      html`<div class="sub">
        ${
          field.types &&
          html`<select aria-label=${`${field.label}: kind`} onChange=${type(way)}>
            ${field.types.map(([name, label]) => html`<option value=${name} selected=${name === (values[way] ?? "")}>${label}</option>`)}
          </select>`
        }
        ${slide(level, "Level", initial)} ${field.name === "face_enhance" && slide(skin, "Smooth skin", 0)}
      </div>`
    }
  </div>`;
}

const titled = (name) => name[0].toUpperCase() + name.slice(1).replaceAll("_", " ");

// The account's own presets come first; others of the server by their name.
export function Preset({ field, id, value, state }) {
  const own = (state.account?.presets ?? []).map((name) => [name, name]);
  const known = [...own, ...PRESETS.map((name) => [name, titled(name)])];
  return html`<${Labelled} id=${id} label=${field.label}>
    <div class="chips" role="group" aria-label="Presets">
      ${known.map(
        ([name, label]) =>
          html`<button
            key=${name}
            type="button"
            class="pill"
            aria-pressed=${value === name}
            onClick=${() => setValue(field.path, value === name ? "" : name)}
          >
            ${label}
          </button>`,
      )}
    </div>
    <input
      id=${id}
      type="text"
      value=${value ?? ""}
      placeholder="None, or another by its name"
      onInput=${type(field.path)}
      autocomplete="off"
      spellcheck="false"
    />
  <//>`;
}
