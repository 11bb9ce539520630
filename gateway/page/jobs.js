// The form as it is filled in, priced and sent.

import * as api from "./api.js";
import { watch } from "./follow.js";
import { show } from "./history.js";
import { familyOf } from "./models.js";
import { readAll } from "./pictures.js";
import { build, missing } from "./request.js";
import { get, set, setForm, setJob, setValue } from "./store.js";
import { TASK } from "./tasks.js";

export function setTask(id) {
  const { form } = get();
  const values = { ...form.values };
  if (Boolean(TASK[id].picture) !== Boolean(TASK[form.task].picture))
    for (const side of ["width", "height"]) delete values[side];
  for (const [path, value] of Object.entries(TASK[form.task].initial ?? {}))
    if (values[path] === value) delete values[path];
  for (const [path, value] of Object.entries(TASK[id].initial ?? {})) values[path] ??= value;
  setForm({ task: id, values });
}

export function setPicture(picture) {
  const task = TASK[get().form.task];
  if (picture && !task.picture) setTask("img2img");
  setValue("url", picture);
  setForm({ mask: null });
}

const placeholder = ({ url }) => url ?? "base64,cGljdHVyZQ=="; // estimates do not look at pictures
placeholder.main = true;

let estimating = null;
export async function estimate(form = get().form) {
  estimating?.abort();
  if (!get().account || missing(form)) return null; // nothing that could be sent
  const mine = (estimating = new AbortController());
  return estimateOf(form, mine.signal);
}

export async function estimateOf(form, signal) {
  try {
    return await api.estimate(get().key, build(form, placeholder), signal);
  } catch (error) {
    return error.name === "AbortError" ? null : { message: error.message };
  }
}

export async function generate(form = get().form) {
  const { key, account } = get();
  if (!account) return set({ problem: { field: "key", message: "Enter your API key first." }, signingIn: true });
  const problem = missing(form);
  if (problem) return set({ problem });
  set({ sending: true, error: null, problem: null });
  try {
    const read = await readAll(form);
    const text = (picture) => picture.url ?? read.get(picture) ?? picture.data;
    const document = build(form, text);
    document.imagegen = { ...document.imagegen, preview_interval: 2 };
    const file = TASK[form.task].picture ? form.values.url?.file : null;
    const answer = await api.submit(key, document, file);
    const ids = (answer.results ?? [answer]).map((each) => each.job);
    for (const id of ids) {
      setJob(id, {
        job: id,
        state: "queued",
        created: new Date().toISOString(),
        form,
        before: TASK[form.task].picture ? form.values.url : null,
        size: expectedSize(form),
        expectedSeconds: get().estimate?.run_seconds,
      });
    }
    set({ warnings: answer.warnings ?? [] });
    show({ jobs: ids, at: 0 });
    watch();
    return ids;
  } catch (error) {
    if (get().account) set({ error: { message: error.message } }); // else the key is asked for
    return null;
  } finally {
    set({ sending: false });
  }
}

// Width and height that the picture will have, as far as the form shows: for its place on the page.
function expectedSize({ task, values }) {
  const family = familyOf({ families: get().families, form: { values } });
  const own =
    task === "text"
      ? [family?.width ?? 512, family?.height ?? 512]
      : [values.url?.width ?? 512, values.url?.height ?? 512];
  const [width, height] = ["width", "height"].map((name, at) =>
    /%$/.test(values[name]) ? (own[at] * parseFloat(values[name])) / 100 : Number(values[name]) || null,
  );
  if (width && height) return [width, height];
  if (task === "text") return width || height ? [width || height, width || height] : own;
  return own;
}
