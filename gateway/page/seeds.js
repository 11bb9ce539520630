// Seeds.

export const SEED = "background.generate.sample_num";

export const randomSeed = () => String(crypto.getRandomValues(new Uint32Array(1))[0]);
