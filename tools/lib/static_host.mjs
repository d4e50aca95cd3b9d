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

/** Models may be read by other sites. */
const OPEN = { "Access-Control-Allow-Origin": "*" };

/** Serves `folder` on a free port, and `pages`, HTML texts by their paths: `{url, close}`. */
export async function serveStatic(folder, pages = {}) {
  const answers = new Map(Object.entries(pages).map(([path, text]) => [path, answerWith(".html", text)]));
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
  if (!found) return { status: 404, headers: { "Content-Type": "text/plain", ...OPEN }, body: "Not found" };
  return answerWith(extname(file), readFileSync(file), path.startsWith("/assets/"));
}

/** `lasting`: the file's name tells its contents. */
function answerWith(kind, bytes, lasting = false) {
  const compressed = COMPRESSED.has(kind);
  const body = compressed ? gzipSync(bytes) : bytes;
  const headers = {
    "Content-Type": TYPES[kind] ?? "application/octet-stream",
    "Content-Length": body.length,
    ...OPEN,
    "Cache-Control": lasting ? "public, max-age=31536000, immutable" : "no-cache",
    ...(compressed && { "Content-Encoding": "gzip", Vary: "Accept-Encoding" }),
  };
  return { status: 200, headers, body };
}
