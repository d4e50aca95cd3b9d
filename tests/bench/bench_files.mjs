// Serves onnxruntime-web and the exported UNets beside the benchmark's page.
import { createReadStream, statSync } from "node:fs";
import { extname, join, sep } from "node:path";
import { pipeline } from "node:stream";
import { fileURLToPath } from "node:url";
import { cache } from "../../tools/lib/cache.mjs";

const ONNXRUNTIME = fileURLToPath(new URL("node_modules/onnxruntime-web/dist", import.meta.url));
const TYPES = { ".json": "application/json", ".mjs": "text/javascript", ".wasm": "application/wasm" };

/** Folder of everything that the benchmark makes and keeps. */
export const benchCache = join(cache, "bench");

/** `[start, end)` of a `Range` header with one range; all of the file without. */
function range(header, size) {
  const [, start, last] = header?.match(/^bytes=(\d+)-(\d+)$/) ?? [];
  if (start === undefined) return [0, size];
  return [Math.min(Number(start), size), Math.min(Number(last) + 1, size)];
}

function serve(folder) {
  return ({ url, method, headers }, response, next) => {
    const path = join(folder, decodeURIComponent(url.split("?", 1)[0]));
    const found = path.startsWith(folder + sep) ? statSync(path, { throwIfNoEntry: false }) : undefined;
    if (!found?.isFile()) return next();
    const [start, end] = range(headers.range, found.size);
    response.writeHead(headers.range ? 206 : 200, {
      "Content-Type": TYPES[extname(path)] ?? "application/octet-stream",
      "Content-Length": end - start,
      "Content-Range": `bytes ${start}-${end - 1}/${found.size}`,
      "Cache-Control": "no-store",
      // An isolated page starts no worker, a thread of onnxruntime-web among them, whose script does not say this too.
      "Cross-Origin-Embedder-Policy": "require-corp",
    });
    if (method === "HEAD" || start === end) return response.end();
    return pipeline(createReadStream(path, { start, end: end - 1 }), response, () => {});
  };
}

/** Vite plugin for the server of the built page. */
export function benchFiles() {
  return {
    name: "easel:bench-files",
    configurePreviewServer({ middlewares }) {
      middlewares.use("/onnxruntime-web", serve(ONNXRUNTIME));
      middlewares.use("/bench", serve(benchCache));
      if (process.env.EASEL_BENCH_MODEL) middlewares.use("/model", serve(process.env.EASEL_BENCH_MODEL));
    },
  };
}
