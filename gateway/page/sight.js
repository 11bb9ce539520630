// What happens is shown where the reader looks.

import { useEffect, useRef } from "./vendor/preact.js";

// On a narrow screen, where the form is above: brings what is shown now into sight.
export function useInSight() {
  const shown = useRef(null);
  useEffect(() => {
    if (!shown.current || !matchMedia("(max-width: 55.99rem)").matches) return;
    const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    shown.current.scrollIntoView({ block: "start", behavior: still ? "auto" : "smooth" });
  }, []);
  return shown;
}
