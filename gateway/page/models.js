// The families of models that the server has.

export const MODEL = "background.generate.model_type";

// The one that the form names; the first, which is the default, where it names none.
export const familyOf = ({ families, form }) => families.find(({ name }) => name === form.values[MODEL]) ?? families[0];
