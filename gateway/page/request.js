// From the form to the documented request, and back.

import { ENHANCEMENTS } from "./fields-enhance.js";
import { SECTIONS, fieldsOf, isSet } from "./fields.js";
import { TASK, taskOf } from "./tasks.js";

export const PROMPT = "background.generate.description";
export const MASK = "background.generate.ip_image2";
export const MISSING = "sha256:"; // of a picture whose file the server does not keep

// The request of a form. `picture` turns a picture of the form ({file} or {url}) into its text; the main one that is a
// file is left out: it goes with the request as a file.
export function build(form, picture) {
  const task = TASK[form.task];
  const { values } = form;
  const document = {};
  if (task.picture && values.url && (picture.main || !values.url.file)) document.url = picture(values.url, "url");
  if (task.prompt !== "none" && values[PROMPT]?.trim()) put(document, PROMPT, values[PROMPT].trim());
  for (const section of SECTIONS) {
    for (const field of fieldsOf(section, form)) addField(document, field, values, picture);
  }
  if (task.mask && form.mask) put(document, MASK, picture(form.mask, "mask"));
  for (const [path, value] of Object.entries(task.fixed ?? {})) put(document, path, value);
  if (form.task === "upscale") {
    if (document.background?.generate) put(document, "background.generate.adapter_type", "upscale");
    else document.generative_upscale = true;
  }
  return merge(document, readJson(values[""]));
}

function addField(document, field, values, picture) {
  const value = values[field.path] ?? (field.kind === "select" ? field.options[0][0] : undefined); // a list without an empty choice sends its first
  if (field.kind === "enhancement") {
    if (!values.enhancements?.includes(field.name)) return;
    (document.enhancements ??= []).push(field.name);
    for (const name of ["level", "type", "smoothing_level"]) {
      const path = `${field.name}_parameters.${name}`;
      if (isSet(values[path])) put(document, path, values[path]);
    }
  } else if (field.kind === "json" || !isSet(value)) {
    return;
  } else if (field.kind === "picture") {
    put(document, field.path, picture(value, field.path));
  } else if (field.kind === "pictures") {
    put(
      document,
      field.path,
      value.map((each, number) => picture(each, `${field.path}.${number}`)),
    );
  } else if (field.kind === "loras") {
    put(document, field.path, value);
  } else if (field.kind === "skip" || field.kind === "number" || field.kind === "range" || field.kind === "count") {
    if (field.kind !== "count" || Number(value) > 1) put(document, field.path, Number(value));
  } else if (field.kind === "seed") {
    put(document, field.path, toInteger(value));
  } else if (field.kind === "side") {
    put(document, field.path, /^\d+$/.test(value) ? Number(value) : value);
  } else if (field.json || value.startsWith("{")) {
    put(document, field.path, JSON.parse(value));
  } else {
    put(document, field.path, value);
  }
}

// Seeds go up to 2^63 - 1, which a number of JavaScript cannot hold: as text they arrive whole.
const toInteger = (text) => (Number.isSafeInteger(Number(text)) ? Number(text) : String(text));

export function readJson(text) {
  if (!text?.trim()) return {};
  const found = JSON.parse(text);
  if (found === null || typeof found !== "object" || Array.isArray(found)) throw new SyntaxError("not an object");
  return found;
}

function put(document, path, value) {
  const steps = path.split(".");
  const last = steps.pop();
  let place = document;
  for (const step of steps) place = place[step] ??= {};
  place[last] = value;
}

function merge(document, more) {
  for (const [name, value] of Object.entries(more)) {
    const both = [document[name], value].every(
      (each) => each !== null && typeof each === "object" && !Array.isArray(each),
    );
    document[name] = both ? merge(document[name], value) : value;
  }
  return document;
}

const pick = (document, path) => path.split(".").reduce((place, step) => place?.[step], document);

// The form that a documented request stands for. Pictures whose files are gone are left out.
export function recall(document) {
  const task = taskOf(document);
  const values = {};
  const keep = (path, value) => {
    if (isSet(value)) values[path] = value;
  };
  const picture = (text) => (typeof text === "string" && !text.startsWith(MISSING) ? { url: text } : undefined);
  keep("url", picture(document.url));
  keep(PROMPT, pick(document, PROMPT));
  for (const field of SECTIONS.flatMap((section) => section.fields)) {
    const value = field.path && pick(document, field.path);
    if (field.kind === "picture") keep(field.path, picture(value));
    else if (field.kind === "pictures") keep(field.path, (value ?? []).map(picture).filter(Boolean));
    else if (field.kind === "check" || field.kind === "loras") keep(field.path, value);
    else if (field.kind !== "enhancement" && isSet(value))
      keep(field.path, typeof value === "object" ? JSON.stringify(value) : String(value));
    if (field.json && value === false) values[field.path] = "false";
  }
  keep("enhancements", document.enhancements);
  for (const [name] of ENHANCEMENTS) {
    for (const [key, value] of Object.entries(document[`${name}_parameters`] ?? {}))
      values[`${name}_parameters.${key}`] = value;
  }
  if (task === "inpaint") delete values[MASK];
  if (task === "outpaint") delete values.fit;
  return { task, values };
}

// What must be there before it is sent: the field's id and what to do; null where all is there.
export function missing(form) {
  const task = TASK[form.task];
  if (task.picture && !form.values.url) return { field: "file", message: "Choose a picture first." };
  if (task.mask && !form.mask) return { field: "mask", message: "Paint over the part that should change." };
  if (task.prompt === "required" && !form.values[PROMPT]?.trim())
    return { field: "prompt", message: "Write a prompt first." };
  for (const path of task.needs ?? []) {
    if (!form.values[path]) return { field: toId(path), message: "Choose the picture with the new face." };
  }
  try {
    readJson(form.values[""]);
  } catch {
    return { field: toId(""), message: '“More fields, as JSON” must be a JSON object, such as {"width": 512}.' };
  }
  return null;
}

export const toId = (path) => `field-${path.replaceAll(".", "-") || "json"}`;
