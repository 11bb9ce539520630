// The account's jobs, as the server lists them.

import * as api from "./api.js";
import { isActive, watch } from "./follow.js";
import { get, set } from "./store.js";

const PAGE = 30;

export async function loadGallery(more = false) {
  const { gallery, key } = get();
  if (!more) set({ gallery: { ...gallery, state: gallery.order.length ? "ready" : "loading" } });
  try {
    const state = gallery.filter === "all" ? null : gallery.filter;
    const found = await api.listJobs(key, { page_size: PAGE, state, page_token: more ? gallery.next : null });
    set(({ jobs, gallery: now }) => {
      const listed = found.jobs.map((job) => job.job);
      const fresh = listed.filter((id) => !now.order.includes(id));
      const order = more ? [...now.order, ...fresh] : [...fresh, ...now.order];
      const known = { ...jobs };
      for (const job of found.jobs) known[job.job] = { ...known[job.job], ...job };
      return {
        jobs: known,
        gallery: { ...now, order, next: more || !now.order.length ? found.next_page_token : now.next, state: "ready" },
      };
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
