// The built site as a static host serves it: compressed by gzip, with files whose names tell their contents kept for good.
import { readFileSync, statSync } from "node:fs";
import { createServer } from "node:http";
import { extname, join, sep } from "node:path";
import { gzipSync } from "node:zlib";

const TYPES = {
  ".css": "text/css; charset=utf-8",
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".json": "application/json",
  ".png": "image/png",
  ".svg": "image/svg+xml",
  ".txt": "text/plain; charset=utf-8",
  ".wasm": "application/wasm",
  ".webmanifest": "application/manifest+json",
};
/** Pictures and weights are compressed already, or gain nothing. */
const COMPRESSED = new Set([".css", ".html", ".js", ".json", ".svg", ".txt", ".wasm", ".webmanifest"]);

/** Serves `folder` on a free port: `{url, close}`. */
export async function serveStatic(folder) {
  const answers = new Map();
  const server = createServer(({ url }, response) => {
    const path = decodeURIComponent(new URL(url, "http://host").pathname).replace(/\/$/, "/index.html");
    const known = answers.get(path) ?? answer(folder, path);
    answers.set(path, known);
    response.writeHead(known.status, known.headers);
    response.end(known.body);
  });
  await new Promise((resolve) => server.listen(0, "localhost", resolve));
  return {
    url: `http://localhost:${server.address().port}/`,
    close: () => {
      server.closeAllConnections();
      server.close();
    },
  };
}

function answer(folder, path) {
  const file = join(folder, path);
  const found = file.startsWith(folder + sep) && statSync(file, { throwIfNoEntry: false })?.isFile();
  if (!found) return { status: 404, headers: { "Content-Type": "text/plain" }, body: "Not found" };
  const kind = extname(file);
  const bytes = readFileSync(file);
  const compressed = COMPRESSED.has(kind);
  const body = compressed ? gzipSync(bytes) : bytes;
  const headers = {
    "Content-Type": TYPES[kind] ?? "application/octet-stream",
    "Content-Length": body.length,
    "Cache-Control": path.startsWith("/assets/") ? "public, max-age=31536000, immutable" : "no-cache",
    ...(compressed && { "Content-Encoding": "gzip", Vary: "Accept-Encoding" }),
  };
  return { status: 200, headers, body };
}
