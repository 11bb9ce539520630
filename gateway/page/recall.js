// What a job was asked for, and the picture that it began from.

import { toLocal } from "./pictures.js";
import { MISSING, PROMPT, recall } from "./request.js";
import { TASK } from "./tasks.js";

// The form that a job was sent with: of this visit, else as far as the server keeps it.
export const formOf = (job) => job.form ?? (job.request ? recall(job.request) : null);

// The prompt that a job was sent with; "" of tasks that have none.
export function promptOf(job) {
  const form = formOf(job);
  return form && TASK[form.task].prompt !== "none" ? (form.values[PROMPT] ?? "") : "";
}

// The job whose result this one began from: its file has the digest that the server keeps of what was sent.
export function sourceOf(job, jobs) {
  const text = job.request?.url ?? "";
  if (!text.startsWith(MISSING)) return undefined;
  const digest = text.slice(MISSING.length);
  return Object.values(jobs).find(({ sha256, state }) => sha256 === digest && state === "succeeded");
}

// Where the picture that a job began from can be shown: of this visit, of the gallery, or by its link; null elsewhere.
export function beforeOf(job, jobs) {
  if (job.before?.src) return job.before.src;
  const source = sourceOf(job, jobs);
  if (source) return toLocal(source.result_url);
  return job.request?.url?.startsWith("https:") ? job.request.url : null;
}
