// Two copies of the page on one origin, as on a host for the pages of many projects.
import { createReadStream, existsSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { extname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { test } from "./easel_page.ts";

const BUILT = fileURLToPath(new URL("../../build/scripted", import.meta.url));
const TYPES: Record<string, string> = { ".html": "text/html", ".js": "text/javascript", ".css": "text/css" };

/** Serves the page at `/`, and again at `/b/`, inside of what the first calls its own; while `silent`, it takes requests and answers none. */
class TwoSites {
  silent = false;
  readonly #server: Server = createServer((request, response) => {
    if (this.silent) return;
    const [asked = "/"] = (request.url ?? "/").split("?");
    const path = join(BUILT, asked.replace(/^\/b\//, "/").replace(/\/$/, "/index.html"));
    if (!existsSync(path)) {
      response.writeHead(404).end();
      return;
    }
    response.setHeader("Content-Type", TYPES[extname(path)] ?? "application/octet-stream");
    createReadStream(path).pipe(response);
  });

  async open(): Promise<string> {
    await new Promise<void>((resolve) => this.#server.listen(0, "localhost", resolve));
    return `http://localhost:${(this.#server.address() as AddressInfo).port}`;
  }

  close(): void {
    this.#server.closeAllConnections();
    this.#server.close();
  }
}

test("each of two sites opens when their server answers no more", async ({ easel }) => {
  const sites = new TwoSites();
  const origin = await sites.open();
  try {
    for (const folder of ["/", "/b/"]) {
      await easel.page.goto(`${origin}${folder}?device=cpu`);
      await easel.ready();
      await easel.page.evaluate(async () => {
        const { active } = await navigator.serviceWorker.ready;
        if (active?.state === "activated") return;
        await new Promise((resolve) => active?.addEventListener("statechange", resolve));
      });
    }
    sites.silent = true;
    for (const folder of ["/", "/b/"]) {
      await easel.page.goto(`${origin}${folder}?device=cpu`);
      await easel.ready();
    }
  } finally {
    sites.close();
  }
});
