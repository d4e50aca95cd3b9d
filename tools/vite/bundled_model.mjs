// Serves the bundled model beside the page, with a manifest of its files.
import { createHash } from "node:crypto";
import { createReadStream, readdirSync, readFileSync } from "node:fs";
import { join, posix, sep } from "node:path";
import { root } from "../lib/run.mjs";

const MODEL_FILE = /\.(json|txt|safetensors)$/;

/** Paths of a model's files below its folder, with `/` between parts. */
function modelFiles(folder) {
  const inside = readdirSync(folder, { recursive: true }).map((path) => path.split(sep).join(posix.sep));
  return inside.filter((path) => MODEL_FILE.test(path) && path !== "manifest.json").sort();
}

function entry(folder, path) {
  const bytes = readFileSync(join(folder, path));
  return { path, size: bytes.length, sha256: createHash("sha256").update(bytes).digest("hex") };
}

/** `{version, files: [{path, size, sha256}]}`: what the page knows of a model before it fetches it. */
export function manifest(folder) {
  return { version: 1, files: modelFiles(folder).map((path) => entry(folder, path)) };
}

/** Vite plugin: `models/starter/` and the like in the development server and in the build. */
export function bundledModel(place) {
  const folder = join(root, place);
  return {
    name: "easel:bundled-model",
    configureServer(server) {
      const files = new Set(modelFiles(folder));
      server.middlewares.use(`/${place}`, (request, response, next) => {
        const path = new URL(request.url, "http://localhost").pathname.slice(1);
        if (path === "manifest.json") response.end(JSON.stringify(manifest(folder)));
        else if (files.has(path)) createReadStream(join(folder, path)).pipe(response);
        else next();
      });
    },
    generateBundle() {
      const emit = (path, source) => this.emitFile({ type: "asset", fileName: `${place}/${path}`, source });
      for (const path of modelFiles(folder)) emit(path, readFileSync(join(folder, path)));
      emit("manifest.json", JSON.stringify(manifest(folder)));
    },
  };
}
