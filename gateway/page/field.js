// One setting, whatever its kind.

import { html } from "./vendor/preact.js";
import { Icon } from "./icons.js";
import { fromFile, fromUrl } from "./pictures.js";
import { PRESETS, isSet } from "./fields.js";
import { toId } from "./request.js";
import { randomSeed } from "./jobs.js";
import { setValue } from "./store.js";

export function Field({ field, state }) {
  const shown = KINDS[field.kind] ?? Text;
  return html`<${shown}
    field=${field}
    id=${field.name ? `enhance-${field.name}` : toId(field.path)}
    state=${state}
    value=${state.form.values[field.path]}
  />`;
}

const type = (path) => (event) => setValue(path, event.target.value);

function Labelled({ id, label, hint, side, children }) {
  return html`<div class="field">
    <label for=${id}><span>${label}</span>${side}</label
    >${children}${hint && html`<p class="hint" id=${`${id}-hint`}>${hint}</p>`}
  </div>`;
}

const Text = ({ field, id, value }) =>
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

const TextArea = ({ field, id, value }) =>
  html`<${Labelled} id=${id} label=${field.label} hint=${field.hint}>
    <textarea
      id=${id}
      rows="2"
      placeholder=${field.placeholder}
      onInput=${type(field.path)}
      value=${value ?? ""}
    ></textarea>
  <//>`;

const familyOf = ({ families, form }) =>
  families.find(({ name }) => name === form.values["background.generate.model_type"]) ?? families[0];

function NumberField({ field, id, value, state }) {
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

function Range({ field, id, value }) {
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

const Select = ({ field, id, value }) =>
  html`<${Labelled} id=${id} label=${field.label} hint=${field.hint}>
    <select id=${id} value=${value ?? field.options[0][0]} onChange=${type(field.path)}>
      ${field.options.map(([name, label]) => html`<option value=${name} selected=${name === (value ?? field.options[0][0])}>${label}</option>`)}
    </select>
  <//>`;

const Family = ({ field, id, value, state }) =>
  html`<${Labelled} id=${id} label=${field.label}>
    <select id=${id} onChange=${type(field.path)}>
      <option value="" selected=${!value}>
        ${state.families[0] ? `${state.families[0].name} (default)` : "Default"}
      </option>
      ${state.families.slice(1).map(({ name, ready }) => html`<option value=${name} selected=${value === name}>${name}${ready ? "" : " (not ready)"}</option>`)}
    </select>
  <//>`;

const SAMPLERS = {
  ddim: "DDIM",
  euler: "Euler",
  euler_ancestral: "Euler ancestral",
  heun: "Heun",
  dpmpp_2m: "DPM++ 2M",
  dpmpp_2m_karras: "DPM++ 2M Karras",
  lcm: "LCM",
  unipc: "UniPC",
  dpmpp_sde: "DPM++ SDE",
  dpmpp_2m_sde: "DPM++ 2M SDE",
  ddpm: "DDPM",
  tcd: "TCD",
};

// The samplers of the model that is chosen.
function Sampler({ field, id, value, state }) {
  const family = familyOf(state);
  const options = [
    ["", family ? `${SAMPLERS[family.sampler] ?? family.sampler} (default)` : "Model’s default"],
    ...(family?.samplers ?? Object.keys(SAMPLERS)).map((name) => [name, SAMPLERS[name] ?? name]),
  ];
  return html`<${Select} field=${{ ...field, options }} id=${id} value=${value} />`;
}

const Suggest = ({ field, id, value, state }) =>
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
    <datalist id=${`${id}-list`}>
      ${(field.options === "presets" ? [...(state.account?.presets ?? []), ...PRESETS] : field.options).map((name) => html`<option value=${name} />`)}
    </datalist>
  <//>`;

const Check = ({ field, id, value }) =>
  html`<label class="check" for=${id}
    ><input
      id=${id}
      type="checkbox"
      checked=${Boolean(value)}
      onChange=${(event) => setValue(field.path, event.target.checked)}
    /><span>${field.label}</span></label
  >`;

const Side = ({ field, id, value, state }) =>
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

const Seed = ({ field, id, value }) =>
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
        aria-label="Draw a seed"
        title="Draw a seed"
      >
        <${Icon} name="dice" />
      </button>
      ${isSet(value) && html`<button type="button" id="seed-clear" onClick=${() => setValue(field.path, "")} aria-label="Random seed each time" title="Random each time"><${Icon} name="cancel" /></button>`}
    </div>
  <//>`;

function Count({ field, id, value }) {
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

function Color({ field, id, value }) {
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

const choose = (path) => async (event) => {
  const [file] = event.target.files;
  if (file) setValue(path, await fromFile(file));
};

function PictureField({ field, id, value }) {
  const thumb =
    value &&
    html`<div class="chosen">
      ${value.src ? html`<img src=${value.src} alt="" />` : html`<${Icon} name="image" />`}<span>${value.name}</span>
      <button
        type="button"
        class="mini"
        onClick=${() => setValue(field.path, null)}
        aria-label=${`Remove ${value.name}`}
      >
        Remove
      </button>
    </div>`;
  return html`<${Labelled} id=${id} label=${field.label} hint=${field.hint}>
    ${
      thumb ||
      html`<div class="joined">
        <label class="button" for=${id}
          ><${Icon} name="upload" />Choose<input
            id=${id}
            class="hidden-input"
            type="file"
            accept="image/*"
            onChange=${choose(field.path)}
        /></label>
        <input
          type="text"
          aria-label=${`${field.label}: address`}
          placeholder="or https://…"
          onChange=${(event) => event.target.value.trim() && setValue(field.path, fromUrl(event.target.value.trim()))}
        />
      </div>`
    }
  <//>`;
}

function Pictures({ field, id, value = [] }) {
  const add = async (event) =>
    setValue(
      field.path,
      [...value, ...(await Promise.all([...event.target.files].map(fromFile)))].slice(0, field.most),
    );
  return html`<${Labelled} id=${id} label=${field.label} hint=${field.hint}>
    ${value.map(
      (each, at) =>
        html`<div class="chosen">
          ${each.src && html`<img src=${each.src} alt="" />`}<span>${each.name}</span>
          <button
            type="button"
            class="mini"
            onClick=${() =>
              setValue(
                field.path,
                value.filter((_, other) => other !== at),
              )}
            aria-label=${`Remove ${each.name}`}
          >
            Remove
          </button>
        </div>`,
    )}
    ${value.length < field.most && html`<label class="button" for=${id}><${Icon} name="upload" />Add<input id=${id} class="hidden-input" type="file" accept="image/*" multiple onChange=${add} /></label>`}
  <//>`;
}

function Enhancement({ field, id, state }) {
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

const KINDS = {
  text: Text,
  textarea: TextArea,
  number: NumberField,
  range: Range,
  select: Select,
  family: Family,
  suggest: Suggest,
  sampler: Sampler,
  check: Check,
  side: Side,
  seed: Seed,
  count: Count,
  color: Color,
  picture: PictureField,
  pictures: Pictures,
  enhancement: Enhancement,
  json: TextArea,
};
