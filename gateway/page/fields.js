// The settings: sections of fields, each by its path in the documented request. docs/rest.md explains them.

import { EDITING } from "./fields-editing.js";
import { GUIDANCE, MAIN, PROMPTING, SAMPLING, TASK_FIELDS } from "./fields-generating.js";
import { OUTPUT } from "./fields-output.js";

// The first section has no title: its fields are always in sight.
export const SECTIONS = [MAIN, TASK_FIELDS, SAMPLING, GUIDANCE, PROMPTING, ...EDITING, ...OUTPUT];

const shownFor = (field, task) => (!field.tasks || field.tasks.includes(task)) && !field.not?.includes(task);

export function fieldsOf(section, form) {
  return section.fields.filter((field) => shownFor(field, form.task) && applies(field, form.values));
}

function applies({ when }, values) {
  if (!when) return true;
  const [path, wanted] = when;
  return wanted === undefined ? isSet(values[path]) : values[path] === wanted;
}

export const isSet = (value) =>
  value !== undefined &&
  value !== null &&
  value !== "" &&
  value !== false &&
  !(Array.isArray(value) && value.length === 0);

export const isFieldSet = (field, values) =>
  field.kind === "enhancement" ? (values.enhancements ?? []).includes(field.name) : isSet(values[field.path]);
