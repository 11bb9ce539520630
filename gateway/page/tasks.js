// What can be asked for: one task for each card.

const GENERATE = "background.generate";
const ADAPTER = `${GENERATE}.adapter_type`;

// prompt: "required", "optional" or "none". fixed: fields of the request that the task itself sets.
export const TASKS = [
  {
    id: "text",
    title: "Text to image",
    hint: "Describe it and get a picture.",
    prompt: "required",
    placeholder: "A penguin in the snow",
  },
  {
    id: "img2img",
    title: "Image to image",
    hint: "Change a picture by a prompt.",
    picture: true,
    prompt: "optional",
    placeholder: "The same cup, in a forest",
    fixed: { [ADAPTER]: "img2img" },
  },
  {
    id: "inpaint",
    title: "Inpaint",
    hint: "Paint over a part, and it is generated again.",
    picture: true,
    mask: true,
    prompt: "required",
    placeholder: "A blue flower",
    fixed: { [ADAPTER]: "inpainting" },
  },
  {
    id: "outpaint",
    title: "Outpaint",
    hint: "Continue a picture beyond its borders.",
    picture: true,
    prompt: "optional",
    placeholder: "A wooden table",
    fixed: { fit: { canvas: "outpainting" } },
  },
  {
    id: "background",
    title: "Background",
    hint: "Keep the object, generate what is around it.",
    picture: true,
    prompt: "required",
    placeholder: "On the beach, soft light",
    fixed: { [ADAPTER]: "generate_background" },
  },
  {
    id: "cutout",
    title: "Cut out",
    hint: "Remove the background.",
    picture: true,
    prompt: "none",
    initial: { "background.remove": "auto" },
  },
  {
    id: "upscale",
    title: "Upscale",
    hint: "Enlarge a picture and generate detail.",
    picture: true,
    prompt: "optional",
    placeholder: "What it shows (optional)",
    initial: { width: "200%" },
  },
  { id: "enhance", title: "Enhance", hint: "Light, colour, noise, faces, presets.", picture: true, prompt: "none" },
  {
    id: "sketch",
    title: "Sketch to image",
    hint: "Turn the lines of a drawing into a picture.",
    picture: true,
    prompt: "required",
    placeholder: "A red apple",
    fixed: { [ADAPTER]: "control2" },
  },
  {
    id: "restyle",
    title: "Restyle",
    hint: "Generate a picture again along its edges and colours.",
    picture: true,
    prompt: "required",
    placeholder: "A snowman, 3D",
    fixed: { [ADAPTER]: "control" },
  },
  {
    id: "face",
    title: "Avatar",
    hint: "A portrait with the face of a picture.",
    picture: true,
    prompt: "required",
    placeholder: "An astronaut, studio portrait",
    fixed: { [ADAPTER]: "face" },
  },
  {
    id: "swap",
    title: "Face swap",
    hint: "Put another face into a picture.",
    picture: true,
    prompt: "none",
    fixed: { [ADAPTER]: "face" },
    needs: [`${GENERATE}.ip_image2`],
  },
];

export const TASK = Object.fromEntries(TASKS.map((task) => [task.id, task]));

export const isPlain = (id) => id === "cutout" || id === "enhance"; // nothing is generated

// The task that a documented request asks for.
export function taskOf(document) {
  const generate = document.background?.generate;
  const adapter = generate?.adapter_type;
  if (document.url === undefined) return "text";
  if (document.fit?.canvas === "outpainting") return "outpaint";
  if (document.generative_upscale || adapter === "upscale") return "upscale";
  if (!generate) return document.background?.remove || document.background?.replace ? "cutout" : "enhance";
  if (adapter === "face") return generate.ip_image2 === undefined ? "face" : "swap";
  return { img2img: "img2img", inpainting: "inpaint", control: "restyle", control2: "sketch" }[adapter] ?? "background";
}
