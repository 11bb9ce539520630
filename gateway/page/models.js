// The families of models that the server has, and their samplers.

export const MODEL = "background.generate.model_type";

// The one that the form names; the first, which is the default, where it names none.
export const familyOf = ({ families, form }) => families.find(({ name }) => name === form.values[MODEL]) ?? families[0];

// Their samplers, as a person writes them.
export const SAMPLERS = {
  ddim: "DDIM",
  euler: "Euler",
  euler_ancestral: "Euler ancestral",
  heun: "Heun",
  dpmpp_2m: "DPM++ 2M",
  dpmpp_2m_karras: "DPM++ 2M Karras",
  lcm: "LCM",
  unipc: "UniPC",
  dpmpp_sde: "DPM++ SDE",
  dpmpp_2m_sde: "DPM++ 2M SDE",
  ddpm: "DDPM",
  tcd: "TCD",
};
