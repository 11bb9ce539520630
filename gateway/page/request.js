// What the form asks for, as the documented JSON; and the same as a curl line.

const UNPAINTED = new Set(["edit", "upscale", "outpainting"]); // a prompt may be left out

export function build(form) {
  const { adapter, prompt } = form;
  const request = { imagegen: { preview_interval: 2 } };
  for (const name of ["width", "height"]) if (form[name]) request[name] = Number(form[name]);
  if (form.format !== "png") request.output_format = form.format;
  if (form.enhancements.length) request.enhancements = form.enhancements;
  if (adapter === "upscale") request.generative_upscale = true;
  if (adapter === "outpainting") request.fit = { canvas: "outpainting" };
  if (adapter === "edit" || (UNPAINTED.has(adapter) && !prompt)) return request;
  const generate = { description: prompt };
  if (adapter === "outpainting") generate.adapter_type = "upscale";
  else if (adapter !== "text") generate.adapter_type = adapter;
  if (form.family) generate.model_type = form.family;
  if (form.seed) generate.sample_num = Number(form.seed);
  if (form.negative) generate.negative_prompt = form.negative;
  if (form.scale !== null) generate.controlnet_conditioning_scale = form.scale;
  if (form.strength !== null) generate.strength = form.strength;
  if (form.mask) generate.ip_image2 = form.mask;
  request.background = { generate };
  return request;
}

export function curl(origin, request, file) {
  const short = (_, value) => typeof value === "string" && value.startsWith("data:") ? `${value.slice(0, 40)}…` : value;
  const json = JSON.stringify(request, short);
  const parts = file
    ? [`-F ${quote(`image=@${file.name}`)}`, `-F ${quote(`parameters=${json}`)}`]
    : ["-H 'Content-Type: application/json'", `-d ${quote(json)}`];
  return [`curl -X POST ${origin}/rest_api/process_result`, '-H "X-API-KEY: $API_KEY"', ...parts].join(" \\\n  ");
}

// Inside single quotes a shell changes nothing.
const quote = (text) => `'${text.replaceAll("'", `'\\''`)}'`;
