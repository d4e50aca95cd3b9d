// Which files of `models/` the servers of `npm start` and `npm run dev` give out, and which not.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { type IncomingMessage, request } from "node:http";
import { basename } from "node:path";
import { fileURLToPath } from "node:url";
import { createServer } from "vite";
import { expect, site, test } from "./easel_page.ts";

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));

/** The answer to a path that is sent as it is, with the dots that `fetch` would resolve. */
function ask(origin: string, path: string): Promise<IncomingMessage> {
  const { hostname, port } = new URL(origin);
  return new Promise((resolve, reject) => {
    request({ hostname, port, path }, (answer) => resolve(answer.resume()))
      .on("error", reject)
      .end();
  });
}

async function development(): Promise<{ url: string; close: () => Promise<void> }> {
  const server = await createServer({
    configFile: here("../../vite.config.js"),
    server: { port: 0 },
    logLevel: "silent",
  });
  await server.listen();
  return { url: server.resolvedUrls?.local[0] ?? "", close: () => server.close() };
}

for (const name of ["preview", "development"]) {
  test(`the ${name} server gives out a model's files and nothing else`, async () => {
    const folder = mkdtempSync(here("../../models/test-"));
    const model = `/models/${basename(folder)}`;
    const { url, close } =
      name === "preview" ? { url: site("shipped"), close: async () => {} } : await development();
    const get = async (path: string) => {
      const { statusCode, headers } = await ask(url, path);
      return [statusCode, statusCode === 200 ? headers["content-type"] : ""];
    };
    try {
      for (const file of ["a.json", "merges.txt", "b c.safetensors", ".key", "vocab.pem"]) {
        writeFileSync(`${folder}/${file}`, "{}");
      }
      expect(await get(`${model}/a.json?x`)).toEqual([200, "application/json"]);
      expect(await get(`${model}/merges.txt`)).toEqual([200, "text/plain; charset=utf-8"]);
      expect(await get(`${model}/b%20c.safetensors`)).toEqual([200, "application/octet-stream"]);
      expect((await get("/models/starter/manifest.json"))[0]).toBe(200);
      for (const path of [
        `${model}/absent.json`,
        `${model}/manifest.json`,
        `${model}/a.json/b.json`,
        `${model}/.key`,
        `${model}/vocab.pem`,
        `${model}/%`,
        `${model}/%00.json`,
        "/models//",
        "/models/..%2fpackage.json",
        `${model}/..%2f..%2fpackage.json`,
        "/models/../package.json",
      ]) {
        expect(await get(path), path).toEqual([404, ""]);
      }
    } finally {
      rmSync(folder, { recursive: true });
      await close();
    }
  });
}
