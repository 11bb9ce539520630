// What can be done with a picture: each is a start of something new.

import * as api from "./api.js";
import { show } from "./history.js";
import { generate, setPicture, setTask } from "./jobs.js";
import { MODEL } from "./models.js";
import { fromResult } from "./pictures.js";
import { formOf, promptOf, sourceOf } from "./recall.js";
import { PROMPT, missing } from "./request.js";
import { SEED, randomSeed } from "./seeds.js";
import { get, notify, set, setJob } from "./store.js";
import { TASK, isPlain } from "./tasks.js";

const shownJob = () => get().jobs[get().shown?.jobs[get().shown.at]];

export async function cancel(id) {
  try {
    await api.cancel(get().key, id);
  } catch (error) {
    notify(error.message);
  }
}

export async function remove(id) {
  if (!confirm("Delete this picture? This cannot be undone.")) return;
  try {
    await api.remove(get().key, id);
    setJob(id, { state: "deleted", result_url: null });
    set(({ gallery }) => ({ gallery: { ...gallery, order: gallery.order.filter((each) => each !== id) } }));
    show(null);
    document.getElementById("result-heading").focus();
    notify("Picture deleted.");
  } catch (error) {
    notify(error.message);
  }
}

// The form of a job, with the picture that it began from where that is in the gallery.
async function restore(job) {
  const form = formOf(job);
  if (!form || form.values.url || !TASK[form.task].picture) return form;
  const source = sourceOf(job, get().jobs);
  if (!source) return form;
  try {
    return { ...form, values: { ...form.values, url: await fromResult(source) } };
  } catch {
    return form; // it has gone meanwhile
  }
}

const seedOf = ({ seed }, { task }) =>
  seed === undefined || seed === null || isPlain(task) ? {} : { [SEED]: String(seed) };

export async function reuse(job) {
  const form = await restore(job);
  if (!form) return notify("The server keeps no settings of this job.");
  set({
    form: { ...form, values: { ...form.values, ...seedOf(job, form), "imagegen.n": undefined } },
    problem: null,
  });
  const lost = TASK[form.task].picture && !form.values.url;
  notify(lost ? "Settings restored. Choose the picture again: the server does not keep it." : "Settings restored.");
  document.getElementById("prompt")?.focus();
  return null;
}

// Calls `work` with the picture that is shown, and its job.
async function withPicture(work) {
  try {
    const job = shownJob();
    await work(await fromResult(job), job);
  } catch (error) {
    notify(error.message);
  }
}

const modelOf = (job) => ({ [MODEL]: formOf(job)?.values[MODEL] ?? "" });

export const useAsInput = () =>
  withPicture((picture) => {
    setPicture(picture);
    document.getElementById("prompt")?.focus();
  });

export const inpaintHere = () =>
  withPicture((picture, job) => {
    setTask("inpaint");
    set({ form: { task: "inpaint", values: { ...modelOf(job), url: picture }, mask: null } });
    notify("Paint over the part that should change.");
    requestAnimationFrame(() => document.getElementById("mask")?.focus());
  });

export const upscale = () =>
  withPicture((picture) => generate({ task: "upscale", values: { url: picture, width: "200%" } }));

export const cutOut = () =>
  withPicture((picture) => generate({ task: "cutout", values: { url: picture, "background.remove": "auto" } }));

export const variation = () =>
  withPicture((picture, job) =>
    generate({
      task: "img2img",
      values: {
        ...modelOf(job),
        url: picture,
        [PROMPT]: promptOf(job),
        "background.generate.strength": "0.5",
        [SEED]: randomSeed(),
      },
    }),
  );

export async function anotherSeed() {
  const form = await restore(shownJob());
  if (!form) return notify("The server keeps no settings of this job.");
  const again = { ...form, values: { ...form.values, [SEED]: randomSeed(), "imagegen.n": undefined } };
  const problem = missing(again);
  if (!problem) return generate(again);
  set({ form: again, problem });
  return notify("The server does not keep all that this job began from: add it, then generate.");
}

export async function copyLink() {
  const link = new URL(shownJob().result_url, location.href).href;
  try {
    await navigator.clipboard.writeText(link);
    notify("Link copied.");
  } catch {
    notify(link);
  }
}
