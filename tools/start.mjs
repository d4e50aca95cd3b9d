// `npm start`: from a fresh clone to the page in a browser.
import { npmPackages } from "./lib/packages.mjs";
import { say, script } from "./lib/run.mjs";
import { buildSite, configFile } from "./lib/site.mjs";
import { buildWasm } from "./lib/wasm.mjs";

const PORT = 5173;

await script(async () => {
  await npmPackages();
  await buildWasm();
  await buildSite();
  const { preview } = await import("vite");
  const server = await preview({ configFile, preview: { port: PORT }, logLevel: "warn" });
  say(`the page is at ${server.resolvedUrls.local[0]} (Ctrl+C ends it)`);
});
