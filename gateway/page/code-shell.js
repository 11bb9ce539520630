// The request as curl and grpcurl. Each text runs as it is printed, in a folder that has the pictures it names; the key
// is in IMAGEGEN_API_KEY.

import { base64Of, withFiles } from "./code-files.js";
import { build } from "./request.js";
import { TASK } from "./tasks.js";

// Inside single quotes a shell changes nothing.
const quote = (text) => `'${text.replaceAll("'", "'\\''")}'`;
// In a here-document a shell changes these three.
const escapeHere = (text) => text.replace(/[\\$`]/g, "\\$&");
const toBase64 = (name) => `$(base64 < ${quote(name)} | tr -d '\\n')`;
// JSON for a here-document. Files, {shell: command}, are put in by the shell, after what it must not change is escaped.
function toHere(document) {
  const commands = [];
  const text = JSON.stringify(
    document,
    (_, value) => {
      if (value?.shell === undefined) return value;
      commands.push(value.shell);
      return `\u0000${commands.length - 1}\u0000`;
    },
    2,
  );
  return escapeHere(text).replace(
    /(base64,)?\\\\u0000(\d+)\\\\u0000/g,
    (_, prefix = "", number) => prefix + commands[number],
  );
}

export function curl(form, origin) {
  const text = (picture) => {
    if (picture.url) return picture.url;
    if (picture.data) return picture.data;
    return { shell: `base64,${toBase64(picture.name)}` };
  };
  const json = toHere(build(form, text));
  const file = TASK[form.task].picture && form.values.url?.file ? form.values.url.name : null;
  const start = `curl --request POST \\\n  --url ${origin}/rest_api/process_result \\\n  --header "x-api-key: $IMAGEGEN_API_KEY" \\\n`;
  if (!file) return `${start}  --header 'content-type: application/json' \\\n  --data-binary @- <<JSON\n${json}\nJSON`;
  const name = file.replace(/["\\]/g, "\\$&");
  return `${start}  --form ${quote(`image=@"${name}"`)} \\\n  --form 'parameters=<-' <<JSON\n${json}\nJSON`;
}

export function grpcurl(form, grpc, { host, plain }) {
  const toShell = (picture) =>
    picture?.data ? base64Of(picture.data) : { shell: toBase64(picture?.name ?? "picture.png") };
  const request = withFiles(form, { ...grpc, output: { ...grpc.output, delivery: "DELIVERY_URI" } }, toShell);
  const count = Number(form.values["imagegen.n"]) || 1;
  const [method, message] =
    count > 1 ? ["JobService/CreateJob", { request, n: count }] : ["GenerationService/Generate", request];
  return `grpcurl ${plain ? "-plaintext " : ""}-H "x-api-key: $IMAGEGEN_API_KEY" -d @ \\\n  "\${IMAGEGEN_ADDRESS:-${host}:50051}" imagegen.v1.${method} <<JSON\n${toHere(message)}\nJSON`;
}
