// Other people's sites, for tests of what is embedded in them: small servers of files, each an origin of its own.
import { createHash } from "node:crypto";
import { readFileSync, statSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { extname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));

const TYPES: Record<string, string> = {
  ".css": "text/css",
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript",
  ".json": "application/json",
  ".wasm": "application/wasm",
};

/** Path of a file of the checkout. */
export function inRoot(...path: string[]): string {
  return join(ROOT, ...path);
}

type Content = Buffer | string;

/** An origin that serves texts and folders, and notes what it is asked for. */
export class Site {
  /** Paths that were asked for, in order. */
  readonly asked: string[] = [];
  /** Whether it compresses JSON, as many hosts do. */
  compresses = false;
  readonly #contents = new Map<string, Content>();
  readonly #folders: [prefix: string, folder: string][] = [];
  readonly #headers: Record<string, string>;
  readonly #server: Server = createServer((request, response) => {
    const path = (request.url ?? "/").split("?")[0] ?? "/";
    this.asked.push(path);
    const found = this.#content(path);
    const content =
      found !== undefined && this.compresses && path.endsWith(".json") ? gzipSync(found) : found;
    const type = TYPES[extname(path) || ".html"] ?? "application/octet-stream";
    const length = { "Content-Length": Buffer.byteLength(content ?? "") };
    const encoding = content !== found ? { "Content-Encoding": "gzip" } : {};
    const headers = {
      "Content-Type": type,
      ...encoding,
      ...length,
      "Cache-Control": "no-store",
      ...this.#headers,
    };
    response.writeHead(content === undefined ? 404 : 200, headers);
    response.end(content);
  });

  private constructor(headers: Record<string, string>) {
    this.#headers = headers;
  }

  /** `headers` go with every answer, such as a Content-Security-Policy. */
  static async open(headers: Record<string, string> = {}): Promise<Site> {
    const site = new Site(headers);
    await new Promise<void>((resolve) => site.#server.listen(0, "localhost", resolve));
    return site;
  }

  get origin(): string {
    return `http://localhost:${(this.#server.address() as AddressInfo).port}`;
  }

  put(path: string, content: Content): this {
    this.#contents.set(path, content);
    return this;
  }

  /** Serves the files of a folder below a path that ends with a slash. */
  folder(prefix: string, folder: string): this {
    this.#folders.push([prefix, folder]);
    return this;
  }

  close(): void {
    this.#server.closeAllConnections();
    this.#server.close();
  }

  #content(path: string): Content | undefined {
    const known = this.#contents.get(path);
    if (known !== undefined) return known;
    for (const [prefix, folder] of this.#folders) {
      const file = join(folder, path.slice(prefix.length));
      const found = path.startsWith(prefix) && statSync(file, { throwIfNoEntry: false })?.isFile();
      if (found) return readFileSync(file);
    }
    return undefined;
  }
}

/** A model that the scripted engine takes, at `/model/`. */
export function putModel(site: Site): void {
  const names = ["model_index.json", "unet/config.json", "unet/diffusion_pytorch_model.safetensors"];
  const files = names.map((path) => {
    const content = `{"file": "${path}", "blanks": "${" ".repeat(500)}"}`;
    site.put(`/model/${path}`, content);
    return { path, size: content.length, sha256: createHash("sha256").update(content).digest("hex") };
  });
  site.put("/model/manifest.json", JSON.stringify({ version: 1, files }));
}
