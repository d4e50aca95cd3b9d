// Writes sw.js: the service worker of www/src/sw, with the list of the files that make up the page.
import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { transformWithOxc } from "vite";
import { root } from "../lib/run.mjs";

const SOURCE = join(root, "www", "src", "sw", "sw.ts");
const PUBLIC = join(root, "www", "public");

/** Vite plugin; model files are not the shell's: the page keeps them in IndexedDB. */
export function serviceWorker() {
  return {
    name: "easel:service-worker",
    apply: "build",
    enforce: "post",
    generateBundle: {
      order: "post",
      async handler(_options, bundle) {
        const built = Object.keys(bundle).filter((name) => !name.startsWith("models/"));
        const contents = built.map((name) => bundle[name].source ?? bundle[name].code ?? "");
        const copied = readdirSync(PUBLIC);
        contents.push(...copied.map((name) => readFileSync(join(PUBLIC, name))));
        const shell = [...built, ...copied].filter((name) => name !== "index.html").sort();
        const hash = contents.reduce((sum, content) => sum.update(content), createHash("sha256"));
        const define = {
          __SHELL__: JSON.stringify(["./", ...shell]),
          __VERSION__: JSON.stringify(hash.digest("hex").slice(0, 16)),
        };
        const { code } = await transformWithOxc(readFileSync(SOURCE, "utf8"), SOURCE, {
          define,
          sourcemap: false,
        });
        this.emitFile({ type: "asset", fileName: "sw.js", source: code });
      },
    },
  };
}
