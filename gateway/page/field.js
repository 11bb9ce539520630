// One setting, whatever its kind.

import { html } from "./vendor/preact.js";
import * as simple from "./controls.js";
import { Enhancement, Preset } from "./controls-enhance.js";
import { ClipSkip, Family, Loras, Sampler, Weights } from "./controls-model.js";
import { PictureField, Pictures } from "./controls-picture.js";
import { toId } from "./request.js";

const KINDS = {
  text: simple.Text,
  textarea: simple.TextArea,
  number: simple.NumberField,
  range: simple.Range,
  select: simple.Select,
  suggest: simple.Suggest,
  check: simple.Check,
  side: simple.Side,
  seed: simple.Seed,
  count: simple.Count,
  color: simple.Color,
  json: simple.TextArea,
  family: Family,
  sampler: Sampler,
  weights: Weights,
  skip: ClipSkip,
  loras: Loras,
  picture: PictureField,
  pictures: Pictures,
  enhancement: Enhancement,
  preset: Preset,
};

export function Field({ field, state }) {
  return html`<${KINDS[field.kind]}
    field=${field}
    id=${field.name ? `enhance-${field.name}` : toId(field.path)}
    state=${state}
    value=${state.form.values[field.path]}
  />`;
}
