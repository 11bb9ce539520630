// The page: puts its parts together, and what belongs to none of them: keys, drops, pastes.

import { html, render, useEffect } from "./vendor/preact.js";
import { AccountButton, KeyForm } from "./account.js";
import { onEndedElsewhere } from "./follow.js";
import { Form } from "./form.js";
import { Gallery } from "./gallery.js";
import { followHistory } from "./history.js";
import { Icon } from "./icons.js";
import { estimate, generate, setPicture } from "./jobs.js";
import { loadGallery } from "./listing.js";
import { fromFile, fromUrl, toLocal } from "./pictures.js";
import { signIn } from "./session.js";
import { Stage } from "./stage.js";
import { get, notify, set, useStore } from "./store.js";

const THEMES = ["auto", "light", "dark"];

function applyTheme(theme) {
  document.documentElement.dataset.theme = theme;
  try {
    localStorage.setItem("imagegen-theme", theme);
  } catch {
    /* it holds until the page is closed */
  }
}

function ThemeButton() {
  const next = () => {
    const now = document.documentElement.dataset.theme;
    const theme = THEMES[(THEMES.indexOf(now) + 1) % THEMES.length];
    applyTheme(theme);
    notify({ auto: "Colours: as the system", light: "Colours: light", dark: "Colours: dark" }[theme]);
  };
  return html`<button
    type="button"
    id="theme"
    class="icon-button"
    onClick=${next}
    aria-label="Light or dark colours"
    title="Light or dark"
  >
    <${Icon} name="theme" />
  </button>`;
}

function App() {
  const state = useStore();
  useEffect(() => {
    const timer = setTimeout(async () => {
      set({ estimate: await estimate() });
    }, 350);
    return () => clearTimeout(timer);
  }, [state.form, state.account?.username, state.offline]); // and again once the server can be reached
  useEffect(() => {
    if (state.problem) document.getElementById(state.problem.field)?.focus();
  }, [state.problem]);
  const asking = !state.account || state.signingIn;
  return html`<header class="top">
      <h1>
        <svg class="logo" viewBox="0 0 24 24" aria-hidden="true">
          <path d="M4 4h16v16H4z" />
          <path d="M4 16l5-5 4 4 3-3 4 4" />
          <path d="M15 8h.01" /></svg
        >imagegen
      </h1>
      <nav aria-label="More">
        <a class="button ghost" href="/docs"
          ><${Icon} name="book" /><span class="wide-only">API reference</span><span class="narrow-only">API</span></a
        ><${ThemeButton} /><${AccountButton} state=${state} />
      </nav>
    </header>
    <main>
      <div class="left">
        ${asking && html`<${KeyForm} key=${state.key} state=${state} />`}<${Form} state=${state} />
      </div>
      <${Stage} state=${state} />
      <${Gallery} state=${state} />
    </main>
    <div class="notice" role="status" id="notice">${state.notice}</div>
    ${state.dropping && html`<div class="dropping" aria-hidden="true"><${Icon} name="upload" />Drop the picture</div>`}`;
}

// --- keys, drops and pastes

document.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    if (!get().sending) generate();
  }
  if (event.key === "Escape" && get().signingIn) set({ signingIn: false });
});

async function take(data) {
  const [file] = data.files;
  if (file) return setPicture(await fromFile(file));
  const url = data.getData("text/uri-list");
  if (!url) return null;
  if (!toLocal(url).startsWith("/results/")) return setPicture(fromUrl(url));
  const answer = await fetch(toLocal(url));
  const blob = await answer.blob();
  return setPicture(await fromFile(new File([blob], toLocal(url).slice("/results/".length), { type: blob.type })));
}

for (const name of ["dragover", "drop", "dragleave"]) {
  document.addEventListener(name, (event) => {
    if (name !== "dragleave") event.preventDefault();
    const dropping = name === "dragover";
    if (name === "dragleave" && event.relatedTarget) return;
    if (Boolean(get().dropping) !== dropping) set({ dropping });
    if (name === "drop") take(event.dataTransfer).catch((error) => notify(error.message));
  });
}
document.addEventListener("paste", (event) => {
  if (event.clipboardData.files.length) take(event.clipboardData).catch((error) => notify(error.message));
});

// Another tab, or another client, may have generated something meanwhile.
const renew = () => {
  if (get().account && get().gallery.state === "ready") loadGallery();
};
onEndedElsewhere(renew);
document.addEventListener("visibilitychange", () => {
  if (document.visibilityState === "visible") renew();
});

applyTheme(localStorage.getItem("imagegen-theme") ?? "auto");
followHistory();
render(html`<${App} />`, document.getElementById("app"));
if (get().key) signIn(get().key, get().remember);
else set({ gallery: { ...get().gallery, state: "signed-out" } });
