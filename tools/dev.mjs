// `npm run dev`: the page with vite's reloading server, for work on www/.
import { npmPackages } from "./lib/packages.mjs";
import { say, script } from "./lib/run.mjs";
import { configFile } from "./lib/site.mjs";
import { buildWasm } from "./lib/wasm.mjs";

await script(async () => {
  await npmPackages();
  await buildWasm();
  const { createServer } = await import("vite");
  const server = await createServer({ configFile });
  await server.listen();
  say(`the page is at ${server.resolvedUrls.local[0]} and follows edits of www/`);
});
