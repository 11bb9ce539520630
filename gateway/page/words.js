// What is said of a job: its name, and where it is.

import { formOf, promptOf } from "./recall.js";
import { TASK } from "./tasks.js";

// What a job is called where it is listed.
export const titleOf = (job) =>
  promptOf(job) || TASK[formOf(job)?.task]?.title || job.task?.replaceAll("_", " ") || "Picture";

export function statusOf(job) {
  if (!job) return "";
  if (job.state === "queued") return waitingOf(job);
  if (job.state === "running")
    return job.stage === "denoise"
      ? `Generating: step ${job.step} of ${job.total}`
      : (STAGE_WORDS[job.stage] ?? "Starting");
  if (job.state === "succeeded") return `Done${job.timings ? ` in ${secondsOf(job)} s` : ""}.`;
  return { failed: "Failed.", cancelled: "Cancelled.", deleted: "This picture is no longer stored." }[job.state];
}

const STAGE_WORDS = {
  prepare: "Preparing the picture",
  encode: "Reading the prompt",
  decode: "Decoding",
  finish: "Finishing",
};
export const secondsOf = (job) =>
  Object.values(job.timings)
    .reduce((sum, each) => sum + each, 0)
    .toFixed(1);

export function waitingOf({ queue, wait, expectedSeconds }) {
  const seconds = wait || (queue && expectedSeconds ? queue * expectedSeconds : 0);
  const time = seconds >= 1 ? ` · ${Math.ceil(seconds)} s` : "";
  if (!queue) return "Starts next";
  return `${queue} ${queue === 1 ? "job" : "jobs"} before it${time}`;
}
