// Small copies of the account's pictures: fetched with the key when they come into sight, each once.

import * as api from "./api.js";
import { html, useEffect, useRef, useState } from "./vendor/preact.js";
import { Icon } from "./icons.js";
import { get } from "./store.js";

const links = new Map(); // job id to a promise of an object URL
const PAUSES = [1000, 4000, 16000]; // milliseconds before it is fetched again

const passes = ({ status }) => !status || status === 429 || status >= 500;

// A server that cannot be reached, or is busy, is asked again.
async function fetchLink(id, attempt = 0) {
  try {
    return URL.createObjectURL(await api.thumbnail(get().key, id));
  } catch (error) {
    if (!passes(error) || attempt === PAUSES.length) throw error;
    await new Promise((resume) => setTimeout(resume, PAUSES[attempt]));
    return fetchLink(id, attempt + 1);
  }
}

function linkOf(id) {
  if (!links.has(id)) {
    const link = fetchLink(id);
    links.set(id, link);
    link.catch((error) => passes(error) && links.delete(id)); // asked again when it is shown again
  }
  return links.get(id);
}

// Of another key's pictures.
export function forgetThumbnails() {
  for (const link of links.values()) link.then(URL.revokeObjectURL, () => {});
  links.clear();
}

// A square of a job's picture; an icon where it has no small copy.
export function Thumbnail({ id, icon = "image" }) {
  const box = useRef(null);
  const [src, setSrc] = useState(null);
  const [failed, setFailed] = useState(false);
  useEffect(() => {
    let shown = true;
    const observer = new IntersectionObserver(
      ([entry]) => {
        if (!entry.isIntersecting) return;
        observer.disconnect();
        linkOf(id).then(
          (link) => shown && setSrc(link),
          () => shown && setFailed(true),
        );
      },
      { rootMargin: "200px" },
    );
    observer.observe(box.current);
    return () => {
      shown = false;
      observer.disconnect();
    };
  }, [id]);
  if (failed) return html`<span class="placeholder"><${Icon} name=${icon} /></span>`;
  return html`<span class="small-copy" ref=${box}>${src && html`<img src=${src} alt="" />`}</span>`;
}
