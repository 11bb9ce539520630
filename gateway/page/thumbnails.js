// Small copies of the account's pictures: fetched with the key when they come into sight, each once.

import * as api from "./api.js";
import { html, useEffect, useRef, useState } from "./vendor/preact.js";
import { Icon } from "./icons.js";
import { get } from "./store.js";

const links = new Map(); // job id to a promise of an object URL

function linkOf(id) {
  if (!links.has(id)) {
    const link = api.thumbnail(get().key, id).then((blob) => URL.createObjectURL(blob));
    links.set(id, link);
    link.catch((error) => error.status || links.delete(id)); // without an answer: asked again when it is shown again
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
