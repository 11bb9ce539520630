// Controls of pictures in addition to the main one.

import { html } from "./vendor/preact.js";
import { Icon } from "./icons.js";
import { Labelled } from "./labelled.js";
import { fromFile, fromUrl } from "./pictures.js";
import { setValue } from "./store.js";

const choose = (path) => async (event) => {
  const [file] = event.target.files;
  if (file) setValue(path, await fromFile(file));
};

export function PictureField({ field, id, value }) {
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

export function Pictures({ field, id, value = [] }) {
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
