// The key: whose it is, and what that account has.

import * as api from "./api.js";
import { showNamed } from "./history.js";
import { loadGallery } from "./listing.js";
import { get, set } from "./store.js";
import { forgetThumbnails } from "./thumbnails.js";

// A key that is revoked, or has expired, while the page is open. What is in the form stays.
api.onKeyRefused((message) => {
  if (!get().account) return; // that is reported where the key is entered
  const gallery = { ...get().gallery, order: [], state: "signed-out" };
  set({
    account: null,
    signingIn: true,
    keyProblem: `This key is not accepted any more. ${message}.`,
    jobs: {},
    shown: null,
    gallery,
    error: null,
  });
});

export async function signIn(key, remember) {
  sessionStorage.setItem("imagegen-key", key);
  if (remember) localStorage.setItem("imagegen-key", key);
  else localStorage.removeItem("imagegen-key");
  forgetThumbnails();
  set({ key, remember });
  if (!key)
    return set({
      account: null,
      keyProblem: null,
      jobs: {},
      gallery: { ...get().gallery, order: [], state: "signed-out" },
    });
  try {
    const [account, families] = await Promise.all([api.account(key), api.families(key)]);
    set({ account, families, keyProblem: null });
    await loadGallery();
    await showNamed();
  } catch (error) {
    set({ account: null, keyProblem: error.message, gallery: { ...get().gallery, state: "signed-out" } });
  }
}
