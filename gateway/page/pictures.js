// Pictures of the form: {file, src, name, width, height} of this computer, or {url, src, name} of another server.

export async function fromFile(file) {
  const src = URL.createObjectURL(file);
  try {
    const { width, height } = await sizeOf(src);
    return { file, src, name: file.name || "picture.png", width, height };
  } catch {
    // The server reads formats that this browser cannot show: HEIC, TIFF.
    return { file, src: null, name: file.name, width: null, height: null };
  }
}

export const fromUrl = (url) => ({ url, src: /^https:/.test(url) ? url : null, name: url, width: null, height: null });

// A result of this server as a picture to send. In another host's bucket it cannot be read here: then its link is sent.
export async function fromResult(job) {
  const link = toLocal(job.result_url);
  const name = `${job.job}.${job.output_format ?? "png"}`;
  if (!link.startsWith("/")) return { ...fromUrl(link), width: job.width, height: job.height };
  const answer = await fetch(link);
  if (!answer.ok) throw new Error("This picture is no longer stored.");
  const blob = await answer.blob();
  return fromFile(new File([blob], name, { type: blob.type }));
}

// The server's public name may differ from the one that this page was opened by.
export function toLocal(url) {
  const found = new URL(url, location.href);
  return found.pathname.startsWith("/results/") ? found.pathname + found.search : url;
}

async function sizeOf(src) {
  const image = new Image();
  image.src = src;
  await image.decode();
  return { width: image.naturalWidth, height: image.naturalHeight };
}

const toDataUri = (file) =>
  new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.onerror = () => reject(new Error(`${file.name} cannot be read.`));
    reader.readAsDataURL(file);
  });

// Data URIs of all pictures of a form that are files, by picture; but for the main one.
export async function readAll(form) {
  const found = new Map();
  for (const [path, value] of Object.entries(form.values)) {
    if (path === "url") continue;
    for (const each of Array.isArray(value) ? value : [value]) {
      if (each?.file) found.set(each, await toDataUri(each.file));
    }
  }
  return found;
}
