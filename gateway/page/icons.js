// Icons on a grid of 24: paths drawn for this page.

import { html } from "./vendor/preact.js";

const PATHS = {
  brush: "M4 20c3 0 5-1 5-4a3 3 0 0 0-3-3c-2 0-2 2-2 4s-1 3-2 3zM9 14 19 4l2 2-10 10",
  eraser: "M9 20h11M5 15l9-10 6 6-8 9H9z",
  undo: "M9 7 4 12l5 5M4 12h10a5 5 0 0 1 0 10h-3",
  invert: "M12 3a9 9 0 1 0 0 18zM12 3a9 9 0 0 1 0 18",
  trash: "M4 7h16M9 7V4h6v3M6 7l1 13h10l1-13M10 11v5M14 11v5",
  upload: "M12 16V4M7 9l5-5 5 5M4 16v4h16v-4",
  download: "M12 4v12M7 11l5 5 5-5M4 20h16",
  link: "M10 14a4 4 0 0 0 6 0l3-3a4 4 0 0 0-6-6l-1 1M14 10a4 4 0 0 0-6 0l-3 3a4 4 0 0 0 6 6l1-1",
  input: "M3 5h18v14H3zM8 12h8M13 9l3 3-3 3",
  grow: "M14 4h6v6M20 4l-7 7M10 20H4v-6M4 20l7-7",
  cut: "M6 9a3 3 0 1 0 0-6 3 3 0 0 0 0 6zM6 21a3 3 0 1 0 0-6 3 3 0 0 0 0 6zM8.5 8 20 19M8.5 16 20 5",
  dice: "M5 4h14v16H5zM9 8h.01M15 8h.01M12 12h.01M9 16h.01M15 16h.01",
  vary: "M4 8h4l8 8h4M4 16h4l2-2M14 10l2-2h4M18 5l3 3-3 3M18 13l3 3-3 3",
  compare: "M12 3v18M3 6h18v12H3zM6 12h3M15 12h3",
  recall: "M4 12a8 8 0 1 0 3-6L4 8M4 3v5h5",
  cancel: "M6 6l12 12M18 6 6 18",
  check: "M5 13l4 4L19 7",
  alert: "M12 3 2 20h20zM12 10v4M12 17h.01",
  clock: "M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18zM12 7v5l3 3",
  image: "M3 5h18v14H3zM3 16l5-5 4 4 3-3 6 5M15 9h.01",
  key: "M8 15a4 4 0 1 0 0-8 4 4 0 0 0 0 8zM12 11h9v4M17 11v3",
  code: "M8 7l-5 5 5 5M16 7l5 5-5 5",
  info: "M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18zM12 11v6M12 7h.01",
  theme: "M12 3a9 9 0 1 0 9 9c-5 2-11-4-9-9z",
  copy: "M8 8h12v12H8zM16 8V4H4v12h4",
  spark: "M12 3l2 7 7 2-7 2-2 7-2-7-7-2 7-2z",
  book: "M4 5c3-1 6-1 8 1 2-2 5-2 8-1v14c-3-1-6-1-8 1-2-2-5-2-8-1zM12 6v14",
  open: "M14 4h6v6M20 4 10 14M18 14v6H4V6h6",
};

export const Icon = ({ name }) =>
  html`<svg class="icon" viewBox="0 0 24 24" aria-hidden="true" focusable="false"><path d=${PATHS[name]} /></svg>`;
