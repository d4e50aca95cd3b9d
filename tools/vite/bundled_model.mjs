// Serves the models of `models/` beside the page, and puts one of them, packed and with a manifest of its files, into the
// build.
import { createHash } from "node:crypto";
import { createReadStream, readdirSync, readFileSync, statSync } from "node:fs";
import { extname, join, posix, sep } from "node:path";
import { pipeline } from "node:stream";
import { packWeights } from "../lib/pack.mjs";
import { root } from "../lib/run.mjs";

const MODELS = join(root, "models");
const TYPES = {
  ".json": "application/json",
  ".safetensors": "application/octet-stream",
  ".txt": "text/plain; charset=utf-8",
};

/** How the bundled model's weights are packed; `docs/quantization.md` has what that costs. */
const QUANT = "mixed";

const isModelFile = (path) => extname(path) in TYPES;

/** What lies beside the starter model's files: how it was made, how good it is, and what it draws. */
const ABOUT = ["train/", "evaluation/", "things.txt"];

/** Paths of a model's files below its folder, with `/` between parts. */
function modelFiles(folder) {
  const inside = readdirSync(folder, { recursive: true }).map((path) => path.split(sep).join(posix.sep));
  const isOther = (path) => path === "manifest.json" || ABOUT.some((about) => path.startsWith(about));
  return inside.filter((path) => isModelFile(path) && !isOther(path)).sort();
}

const sha256 = (bytes) => createHash("sha256").update(bytes).digest("hex");

/** The files of a model as they are, by their paths. */
export function readModel(folder) {
  return new Map(modelFiles(folder).map((path) => [path, readFileSync(join(folder, path))]));
}

/** As `readModel`, with packed weights. */
async function readPacked(folder) {
  const files = readModel(folder);
  for (const [path, bytes] of files) {
    if (path.endsWith(".safetensors")) files.set(path, await packWeights(path, bytes, QUANT));
  }
  return files;
}

/** `{version, files: [{path, size, sha256}]}`: what the page knows of a model before it fetches it. */
export function manifest(files) {
  const entries = [...files].map(([path, bytes]) => ({ path, size: bytes.length, sha256: sha256(bytes) }));
  return { version: 1, files: entries };
}

/** `{path, size}` of the model file that an address below `/models` names; `undefined` when it names none. */
function modelFile(address) {
  try {
    const path = join(MODELS, decodeURIComponent(address.split("?", 1)[0]));
    // What is decoded may hold `..`, which `join` has followed.
    if (!path.startsWith(MODELS + sep) || !isModelFile(path)) return undefined;
    const found = statSync(path, { throwIfNoEntry: false });
    return found?.isFile() ? { path, size: found.size } : undefined;
  } catch {
    // A broken escape or a zero byte names no file.
    return undefined;
  }
}

function serveModel({ url }, response) {
  const file = modelFile(url);
  if (!file) {
    response.writeHead(404).end();
    return;
  }
  response.writeHead(200, { "Content-Type": TYPES[extname(file.path)], "Content-Length": file.size });
  pipeline(createReadStream(file.path), response, () => {});
}

/** Vite plugin; `place` is the bundled model, such as `models/starter`. The servers offer every folder of `models/`. */
export function bundledModel(place) {
  let packed;
  const files = async () => {
    packed ??= readPacked(join(root, place)).then((found) =>
      found.set("manifest.json", JSON.stringify(manifest(found))),
    );
    return packed;
  };
  return {
    name: "easel:bundled-model",
    configureServer({ middlewares }) {
      middlewares.use(`/${place}`, async ({ url }, response, next) => {
        const bytes = (await files()).get(url.slice(1).split("?", 1)[0]);
        if (!bytes) return next();
        response.writeHead(200, { "Content-Type": TYPES[extname(url.split("?", 1)[0])] }).end(bytes);
      });
      middlewares.use("/models", serveModel);
    },
    // After the built site, whose own copy of the bundled model is the one to serve.
    configurePreviewServer:
      ({ middlewares }) =>
      () =>
        middlewares.use("/models", serveModel),
    async generateBundle() {
      for (const [path, source] of await files()) {
        this.emitFile({ type: "asset", fileName: `${place}/${path}`, source });
      }
    },
  };
}
