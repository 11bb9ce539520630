// Code: what the form asks for, or what gave the picture that is shown, in four languages.

import { html, useEffect, useState } from "./vendor/preact.js";
import { openai } from "./code-openai.js";
import { pythonClient } from "./code-python.js";
import { curl, grpcurl } from "./code-shell.js";
import { Icon } from "./icons.js";
import { estimateOf } from "./jobs.js";
import { formOf } from "./recall.js";
import { missing } from "./request.js";
import { SEED } from "./seeds.js";
import { notify } from "./store.js";
import { TASK, isPlain } from "./tasks.js";

const LANGUAGES = [
  ["curl", "curl"],
  ["python", "Python"],
  ["openai", "OpenAI"],
  ["grpc", "gRPC"],
];

function formOfPicture(job) {
  const form = job && formOf(job);
  if (!form || (TASK[form.task].picture && !form.values.url) || (TASK[form.task].mask && !form.mask)) return null;
  const seed = job.seed === undefined || job.seed === null || isPlain(form.task) ? {} : { [SEED]: String(job.seed) };
  return { ...form, values: { ...form.values, ...seed, "imagegen.n": "" } };
}

export function CodePanel({ state, job }) {
  const [language, setLanguage] = useState("curl");
  const [source, setSource] = useState("form");
  const [grpc, setGrpc] = useState(null);
  const ofPicture = formOfPicture(job);
  const form = source === "picture" && ofPicture ? ofPicture : state.form;
  const problem = missing(form);
  useEffect(() => {
    const controller = new AbortController();
    const timer = setTimeout(async () => {
      const found = problem || !state.account ? null : await estimateOf(form, controller.signal);
      if (!controller.signal.aborted) setGrpc(found && { form, ...found });
    }, 250);
    return () => {
      clearTimeout(timer);
      controller.abort();
    };
  }, [source, state.form, job?.job, state.account?.username]);

  const text = problem ? { none: problem.message } : textOf(language, form, grpc, state);
  const files = problem ? [] : filesOf(form);
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text.text);
      notify("Copied.");
    } catch {
      getSelection().selectAllChildren(document.getElementById("code"));
    }
  };
  const keys = (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step) return;
    const at = LANGUAGES.findIndex(([name]) => name === language);
    const [next] = LANGUAGES[(at + step + LANGUAGES.length) % LANGUAGES.length];
    setLanguage(next);
    document.getElementById(`code-${next}`).focus();
  };
  return html`<div class="code-head">
      <div class="tabs small" role="tablist" aria-label="Language" onKeyDown=${keys}>
        ${LANGUAGES.map(
          ([name, label]) =>
            html`<button
              key=${name}
              type="button"
              role="tab"
              id=${`code-${name}`}
              aria-selected=${name === language}
              aria-controls="code-panel"
              tabindex=${name === language ? 0 : -1}
              onClick=${() => setLanguage(name)}
            >
              ${label}
            </button>`,
        )}
      </div>
      <label class="hidden" for="code-source">Code of</label>
      <select id="code-source" class="small" onChange=${(event) => setSource(event.target.value)}>
        <option value="form" selected=${source === "form"}>Current settings</option>
        <option value="picture" selected=${source === "picture"} disabled=${!ofPicture}>
          This picture, with its seed
        </option>
      </select>
      <button type="button" id="copy" class="button small" disabled=${!text.text} onClick=${copy}>
        <${Icon} name="copy" />Copy
      </button>
    </div>
    <div role="tabpanel" id="code-panel" aria-labelledby=${`code-${language}`}>
      ${text.none ? html`<p class="quiet" id="code-none">${text.none}</p>` : html`<pre id="code" tabindex="0" aria-label="Code">${folded(text.text ?? "…")}</pre>`}
    </div>
    <p class="quiet">
      Key:${" "}
      <code>export IMAGEGEN_API_KEY=…</code
      >${files.length > 0 && html`. In this folder: ${files.map((picture) => html`<a key=${picture.name} href=${picture.src ?? undefined} download=${picture.name}>${picture.name}</a>`)}`}${language === "python" && html`. <code>pip install ./clients/python</code>`}
    </p>`;
}

function textOf(language, form, grpc, { account }) {
  const { origin, hostname, protocol } = location;
  if (language === "curl") return { text: curl(form, origin) };
  if (language === "openai") return openai(form, origin);
  if (!account) return { none: "Enter a key: the server translates the request." };
  if (grpc?.message) return { none: grpc.message };
  if (!grpc || (grpc.form !== form && JSON.stringify(grpc.form.values) !== JSON.stringify(form.values)))
    return { text: null };
  return {
    text:
      language === "python"
        ? pythonClient(form, grpc.grpc)
        : grpcurl(form, grpc.grpc, { host: hostname, plain: protocol === "http:" }),
  };
}

const filesOf = (form) =>
  Object.entries(form.values)
    .filter(([path]) => path !== "url" || TASK[form.task].picture)
    .flatMap(([, value]) => (Array.isArray(value) ? value : [value]))
    .filter((value) => value?.file);

// Long base64 is all there, to be copied, and shown short.
const folded = (text) =>
  text
    .split(/([A-Za-z0-9+/=]{120,})/)
    .map((part, at) => (at % 2 ? html`<span class="fold" key=${at}>${part}</span>` : part));
