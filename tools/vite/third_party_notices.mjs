// Puts the licences of what the build ships of others into it.
import { allNotices, NOTICES } from "../lib/notices.mjs";

/** Vite plugin. */
export function thirdPartyNotices() {
  return {
    name: "easel:third-party-notices",
    generateBundle() {
      this.emitFile({ type: "asset", fileName: NOTICES, source: allNotices() });
    },
  };
}
