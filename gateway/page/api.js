// Calls of the gateway, with the key; errors are the API's own words.

export class ApiError extends Error {}

export async function call(path, key, options = {}) {
  let answer;
  try {
    answer = await fetch(path, { ...options, headers: { ...options.headers, "X-API-KEY": key } });
  } catch {
    throw new ApiError("The server cannot be reached.");
  }
  if (!answer.ok) throw new ApiError(await words(answer));
  return answer;
}

async function words(answer) {
  try {
    return (await answer.json()).message || `HTTP ${answer.status}`;
  } catch {
    return `HTTP ${answer.status}`;
  }
}

export async function submit(key, request, file) {
  const body = file ? new FormData() : JSON.stringify(request);
  if (file) {
    body.append("image", file, file.name);
    body.append("parameters", JSON.stringify(request));
  }
  const headers = { "Idempotency-Key": drawn(), ...(file ? {} : { "Content-Type": "application/json" }) };
  return (await call("/rest_api/process", key, { method: "POST", headers, body })).json();
}

// crypto.randomUUID is there over https and on localhost only.
const drawn = () => Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");

export const cancel = (key, job) => call(`/v1/jobs/${encodeURIComponent(job)}:cancel`, key, { method: "POST" });

export const families = async (key) => (await (await call("/v1/families", key)).json()).families;

// The job's events, until the last one; comes back after a break with the number of the last event it has seen.
// Server-sent events by fetch: EventSource can send no key.
export async function* follow(key, job, signal) {
  let last = "0";
  for (let failures = 0; ;) {
    try {
      const headers = { "Last-Event-ID": last };
      const answer = await call(`/v1/jobs/${encodeURIComponent(job)}/events`, key, { headers, signal });
      for await (const event of read(answer.body)) {
        failures = 0;
        last = event.id;
        yield event;
        if (last === "end") return;
      }
    } catch (error) {
      if (signal.aborted || ++failures > 5) throw error;
    }
    await new Promise((resume) => setTimeout(resume, 1000));
  }
}

async function* read(stream) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  try {
    for (let text = ""; ;) {
      const { value, done } = await reader.read();
      if (done) return;
      text += value;
      for (let end = text.indexOf("\n\n"); end >= 0; end = text.indexOf("\n\n")) {
        const event = parse(text.slice(0, end));
        text = text.slice(end + 2);
        if (event) yield event;
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

function parse(block) {
  const fields = {};
  for (const line of block.split("\n")) {
    const colon = line.indexOf(": ");
    if (colon > 0) fields[line.slice(0, colon)] = line.slice(colon + 2);
  }
  return fields.event ? { id: fields.id, name: fields.event, data: JSON.parse(fields.data) } : null;
}
