// Jobs that wait or run: where they stand, how far they are, and how they end.

import * as api from "./api.js";
import { get, set, setJob } from "./store.js";

const FOLLOWED = 2; // streams of events at a time: browsers open six connections to a host
const POLL_MILLISECONDS = 1500;
const STAGES = {
  prepare: [0, 0.06],
  encode: [0.06, 0.04],
  denoise: [0.1, 0.8],
  decode: [0.9, 0.05],
  finish: [0.95, 0.05],
};
const followed = new Map(); // job id to its AbortController
let polling = null;

// Other tabs of this browser: a job that ends in one is in the gallery of all.
const tabs = new BroadcastChannel("imagegen-jobs");
export const onEndedElsewhere = (work) => tabs.addEventListener("message", work);

export const isActive = (job) => job?.state === "queued" || job?.state === "running";

export function watch() {
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
  if (!get().account) {
    polling = null; // until a key is entered
    return;
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
  tabs.postMessage("ended");
}

const refreshAccount = async () => {
  try {
    set({ account: await api.account(get().key) });
  } catch {
    /* it is asked again after the next job */
  }
};
