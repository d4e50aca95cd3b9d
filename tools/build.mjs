// `npm run build [-- --optimize]`: the site that is put on a web server, in dist/, and the npm package for other sites, in
// build/npm/. Optimized, the wasm module is held to its size.
import { buildNpmPackage } from "./lib/npm_package.mjs";
import { npmPackages } from "./lib/packages.mjs";
import { Failure, say, script } from "./lib/run.mjs";
import { buildSite } from "./lib/site.mjs";
import { buildWasm, checkWasmSize } from "./lib/wasm.mjs";

await script(async (args) => {
  const unknown = args.find((argument) => argument !== "--optimize");
  if (unknown) throw new Failure(`\`${unknown}\` is no option; there is --optimize.`);
  await npmPackages();
  const optimize = args.includes("--optimize");
  await buildWasm({ optimize });
  if (optimize) await checkWasmSize();
  await buildSite();
  await buildNpmPackage();
  say("the site is in dist/, the npm package in build/npm/");
});
