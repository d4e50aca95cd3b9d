// Puts the licence of CLIP's merges into the build, beside the merges that the worker asks for.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "../lib/run.mjs";

/** Vite plugin. */
export function clipLicence() {
  return {
    name: "easel:clip-licence",
    generateBundle() {
      const source = readFileSync(join(root, "assets", "clip", "LICENSE"));
      this.emitFile({ type: "asset", fileName: "assets/merges-LICENSE.txt", source });
    },
  };
}
