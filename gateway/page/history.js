// Jobs of this browser, the newest first: in its local storage, and nowhere else.

const NAME = "imagegen-history";
const MOST = 50;

export function list() {
  try {
    const found = JSON.parse(localStorage.getItem(NAME) ?? "[]");
    return Array.isArray(found) ? found : [];
  } catch {
    return [];
  }
}

export function keep(entry) {
  const others = list().filter((each) => each.job !== entry.job);
  save([entry, ...others].slice(0, MOST));
}

export const forget = () => save([]);

function save(entries) {
  try {
    localStorage.setItem(NAME, JSON.stringify(entries));
  } catch { /* the browser keeps nothing: so there is no history */ }
}
