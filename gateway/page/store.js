// The page's state: one object, replaced as a whole, and whoever shows it.

import { useEffect, useState } from "./vendor/preact.js";

let state = {
  key: sessionStorage.getItem("imagegen-key") ?? localStorage.getItem("imagegen-key") ?? "",
  remember: localStorage.getItem("imagegen-key") !== null,
  account: null, // of GET /rest_api/me
  families: [],
  form: { task: "text", values: {} },
  problem: null, // {field, message} of the form, before it is sent
  estimate: null, // {credits, wait_seconds, run_seconds, …} or {message}
  jobs: {}, // by id: what GET /v1/jobs answers, and what events add: progress, preview, form, before
  gallery: { order: [], next: null, state: "loading", filter: "succeeded" },
  shown: null, // {jobs: [ids], at: number}: one request's pictures, and which of them is shown
  error: null, // {message, job} where the picture would be
  sending: false,
  panel: "details", // or code
  compare: false,
  notice: "",
};
const listeners = new Set();

export const get = () => state;

export function set(patch) {
  state = { ...state, ...(typeof patch === "function" ? patch(state) : patch) };
  for (const listener of listeners) listener();
}

export const setForm = (patch) => set(({ form }) => ({ form: { ...form, ...patch }, problem: null }));
export const setValue = (path, value) =>
  set(({ form }) => ({ form: { ...form, values: { ...form.values, [path]: value } }, problem: null }));
export const setJob = (id, patch) => set(({ jobs }) => ({ jobs: { ...jobs, [id]: { ...jobs[id], ...patch } } }));

let clearing = null;
// A sentence at the bottom of the page, for a while.
export function notify(message) {
  clearTimeout(clearing);
  set({ notice: message });
  clearing = setTimeout(() => set({ notice: "" }), 4000);
}

export function useStore() {
  const [, redraw] = useState(0);
  useEffect(() => {
    const listener = () => redraw((count) => count + 1);
    listeners.add(listener);
    return () => listeners.delete(listener);
  }, []);
  return state;
}
