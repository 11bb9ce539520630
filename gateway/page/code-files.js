// Files of a form in the gRPC request that the server has translated, which has none.

import { G } from "./fields-common.js";
import { MASK } from "./request.js";

export const base64Of = (dataUri) => dataUri.slice(dataUri.indexOf(",") + 1);

// Where the form has the picture of a path of the gRPC schema.
function pictureAt(form, path) {
  const { values } = form;
  if (path.endsWith(".references")) return (at) => values[`${G}.context_images`]?.[at];
  const found =
    path === "caption.image"
      ? values["caption.url"]
      : path === "background.replace"
        ? values["background.replace"]
        : path === "safety.replacement"
          ? values["nsfw_parameters.nsfw_image_url"]
          : path.endsWith(".mask")
            ? form.mask
            : path.endsWith(".face")
              ? values[MASK]
              : values.url;
  return () => found;
}

// The gRPC request with a text for each file that it lacks.
export function withFiles(form, message, toText, path = "") {
  const found = {};
  for (const [name, value] of Object.entries(message)) {
    const here = path ? `${path}.${name}` : name;
    if (Array.isArray(value)) {
      found[name] = value.map((each, at) =>
        each?.data === ""
          ? { data: toText(pictureAt(form, here)(at)) }
          : each !== null && typeof each === "object"
            ? withFiles(form, each, toText, here)
            : each,
      );
    } else if (value !== null && typeof value === "object") {
      found[name] =
        value.data === "" ? { data: toText(pictureAt(form, here)(0)) } : withFiles(form, value, toText, here);
    } else {
      found[name] = value;
    }
  }
  return found;
}
