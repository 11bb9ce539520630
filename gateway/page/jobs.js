// What the page does: signs in, estimates, sends, follows, and lists jobs.

import * as api from "./api.js";
import { fromResult, readAll } from "./pictures.js";
import { build, missing, recall } from "./request.js";
import { get, set, setForm, setJob, setValue } from "./store.js";
import { TASK, isPlain } from "./tasks.js";

const FOLLOWED = 2; // streams of events at a time: browsers open six connections to a host
const PAGE = 30;
const POLL_MILLISECONDS = 1500;
const STAGES = {
  prepare: [0, 0.06],
  encode: [0.06, 0.04],
  denoise: [0.1, 0.8],
  decode: [0.9, 0.05],
  finish: [0.95, 0.05],
};
const PROMPT = "background.generate.description";
const SEED = "background.generate.sample_num";
const followed = new Map(); // job id to its AbortController
let polling = null;

export const isActive = (job) => job?.state === "queued" || job?.state === "running";

// --- the key

export async function signIn(key, remember) {
  sessionStorage.setItem("imagegen-key", key);
  if (remember) localStorage.setItem("imagegen-key", key);
  else localStorage.removeItem("imagegen-key");
  set({ key, remember });
  if (!key)
    return set({
      account: null,
      keyProblem: null,
      jobs: {},
      gallery: { ...get().gallery, order: [], state: "signed-out" },
    });
  try {
    const [account, families] = await Promise.all([api.account(key), api.families(key)]);
    set({ account, families, keyProblem: null });
    await loadGallery();
  } catch (error) {
    set({ account: null, keyProblem: error.message, gallery: { ...get().gallery, state: "signed-out" } });
  }
}

const refreshAccount = async () => {
  try {
    set({ account: await api.account(get().key) });
  } catch {
    /* it is asked again after the next job */
  }
};

// --- the gallery

export async function loadGallery(more = false) {
  const { gallery, key } = get();
  if (!more) set({ gallery: { ...gallery, state: gallery.order.length ? "ready" : "loading" } });
  try {
    const state = gallery.filter === "all" ? null : gallery.filter;
    const found = await api.listJobs(key, { page_size: PAGE, state, page_token: more ? gallery.next : null });
    set(({ jobs, gallery: now }) => {
      const listed = found.jobs.map((job) => job.job);
      const order = more ? [...now.order, ...listed.filter((id) => !now.order.includes(id))] : listed;
      const known = { ...jobs };
      for (const job of found.jobs) known[job.job] = { ...known[job.job], ...job };
      return { jobs: known, gallery: { ...now, order, next: found.next_page_token, state: "ready" } };
    });
    for (const job of found.jobs) if (isActive(job)) watch();
  } catch (error) {
    set({ gallery: { ...get().gallery, state: "failed", message: error.message } });
  }
}

export function filterGallery(filter) {
  set({ gallery: { ...get().gallery, filter, order: [], next: null, state: "loading" } });
  return loadGallery();
}

// --- the form

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

export const randomSeed = () => String(crypto.getRandomValues(new Uint32Array(1))[0]);

// --- sending

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
    set({ shown: { jobs: ids, at: 0 }, compare: false, warnings: answer.warnings ?? [] });
    watch();
    return ids;
  } catch (error) {
    set({ error: { message: error.message } });
    return null;
  } finally {
    set({ sending: false });
  }
}

// Width and height that the picture will have, as far as the form shows: for its place on the page.
function expectedSize({ task, values }) {
  const family =
    get().families.find(({ name }) => name === values["background.generate.model_type"]) ?? get().families[0];
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

// --- following

function watch() {
  polling ??= setTimeout(poll, 0);
}

async function poll() {
  const { jobs, key } = get();
  const active = Object.values(jobs).filter(isActive);
  try {
    if (active.length) {
      const listed = Object.fromEntries(
        (await api.listJobs(key, { page_size: 100 })).jobs.map((job) => [job.job, job]),
      );
      for (const { job } of active) {
        const found = listed[job] ?? (await api.getJob(key, job));
        if (!isActive(found)) finish(found);
        else if (isActive(get().jobs[job])) setJob(job, found);
      }
    }
    if (get().offline) set({ offline: false });
  } catch (error) {
    set({ offline: error.message }); // and it is asked again
  }
  const left = Object.values(get().jobs).filter(isActive);
  left.sort(
    (a, b) => (a.state === "running" ? -1 : (a.queue ?? 1e6)) - (b.state === "running" ? -1 : (b.queue ?? 1e6)),
  );
  for (const { job } of left) if (followed.size < FOLLOWED && !followed.has(job)) follow(job);
  polling = left.length ? setTimeout(poll, POLL_MILLISECONDS) : null;
}

async function follow(id) {
  const controller = new AbortController();
  followed.set(id, controller);
  try {
    for await (const { name, data } of api.follow(get().key, id, controller.signal)) await show(id, name, data);
  } catch {
    /* the job list shows how it ended */
  } finally {
    followed.delete(id);
  }
}

async function show(id, name, data) {
  if (name === "queued") setJob(id, { queue: data.queue, wait: data.estimated_wait_seconds });
  else if (name === "started") setJob(id, { state: "running", seed: data.seed, cut: data.prompt_tokens_cut });
  else if (name === "preview") setJob(id, { preview: data.image });
  else if (name === "progress") {
    const [start, part] = STAGES[data.stage] ?? [0, 0];
    setJob(id, {
      state: "running",
      stage: data.stage,
      step: data.step,
      total: data.total,
      progress: start + (part * data.step) / data.total,
    });
  } else {
    finish(await api.getJob(get().key, id), data);
  }
}

function finish(job, answer = {}) {
  if (!isActive(get().jobs[job.job])) return;
  setJob(job.job, { ...job, steps: answer.steps, sampler: answer.sampler, timings: answer.timings });
  set(({ gallery }) => {
    const fits = gallery.filter === "all" || gallery.filter === job.state;
    return fits && !gallery.order.includes(job.job)
      ? { gallery: { ...gallery, order: [job.job, ...gallery.order] } }
      : {};
  });
  refreshAccount();
}

// --- actions

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
    set(({ gallery, shown }) => ({
      gallery: { ...gallery, order: gallery.order.filter((each) => each !== id) },
      shown: shown?.jobs.includes(id) ? null : shown,
    }));
    notify("Picture deleted.");
  } catch (error) {
    notify(error.message);
  }
}

let clearing = null;
export function notify(message) {
  clearTimeout(clearing);
  set({ notice: message });
  clearing = setTimeout(() => set({ notice: "" }), 4000);
}

// The form that a job was sent with: of this session, else as far as the server keeps it.
export const formOf = (job) => job.form ?? (job.request ? recall(job.request) : null);

export function reuse(job) {
  const form = formOf(job);
  if (!form) return notify("The server keeps no settings of this job.");
  set({
    form: {
      ...form,
      values: {
        ...form.values,
        ...(job.seed === undefined || job.seed === null || isPlain(form.task) ? {} : { [SEED]: String(job.seed) }),
        "imagegen.n": undefined,
      },
    },
    problem: null,
  });
  const lost = TASK[form.task].picture && !form.values.url;
  notify(lost ? "Settings restored. Choose the picture again: the server does not keep it." : "Settings restored.");
  document.getElementById("prompt")?.focus();
  return null;
}

// Result pictures as the start of something new. Each action is {run(job, picture)}.
async function withPicture(work) {
  try {
    const job = shownJob();
    await work(await fromResult(job), job);
  } catch (error) {
    notify(error.message);
  }
}

// The prompt that a job was sent with; "" of tasks that have none.
export function promptOf(job) {
  const form = formOf(job);
  return form && TASK[form.task].prompt !== "none" ? (form.values[PROMPT] ?? "") : "";
}

const modelOf = (job) => ({
  "background.generate.model_type": formOf(job)?.values["background.generate.model_type"] ?? "",
});

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

export function anotherSeed() {
  const form = formOf(shownJob());
  if (!form || (TASK[form.task].picture && !form.values.url))
    return notify("The picture that this job started from is not kept: choose it again.");
  return generate({ ...form, values: { ...form.values, [SEED]: randomSeed() } });
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
