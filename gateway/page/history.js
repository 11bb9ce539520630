// What is shown is part of the address: #JOB. Back and forward go from picture to picture, and a link leads to one.

import * as api from "./api.js";
import { get, set, setJob } from "./store.js";

const named = () => location.hash.slice(1);

// Show pictures: {jobs, at}, or null for none.
export function show(shown) {
  set({ shown, compare: false, error: null });
  const job = shown?.jobs[shown.at] ?? "";
  if (job !== named()) history.pushState(shown, "", job ? `#${job}` : location.pathname);
}

// The picture that the address names, once there is a key to ask with.
export async function showNamed() {
  const job = named();
  if (!/^[\w-]+$/.test(job) || get().shown) return;
  try {
    if (!get().jobs[job]) setJob(job, await api.getJob(get().key, job));
    set({ shown: { jobs: [job], at: 0 } });
  } catch {
    history.replaceState(null, "", location.pathname); // another account's, or forgotten
  }
}

export function followHistory() {
  addEventListener("popstate", (event) => {
    const known = event.state?.jobs?.every((job) => get().jobs[job]) ? event.state : null;
    set({ shown: known, compare: false, error: null });
    if (!known) showNamed();
  });
}
