// `npm run check`: formatting, lints and types, of Rust (native and wasm) and TypeScript.
import { join } from "node:path";
import { npmPackages, npmProgram } from "./lib/packages.mjs";
import { root, run, say, script } from "./lib/run.mjs";
import { clippyFor, nativeToolchain, rustfmt, wasmToolchain } from "./lib/rust.mjs";
import { buildWasm } from "./lib/wasm.mjs";

const STRICT = ["--", "-D", "warnings"];
const PROJECTS = [
  "www/src/app",
  "www/src/embed",
  "www/src/worker",
  "www/src/sw",
  "tests/browser",
  "tests/bench",
];

async function typescript() {
  await npmPackages();
  say("checking format and lints of TypeScript");
  await run(npmProgram("biome"), ["ci", "--error-on-warnings"], {
    hint: "`npx biome check --write` mends most.",
  });
  // The worker's types are those that the bindings of the engine declare.
  await buildWasm();
  say("checking types of TypeScript");
  for (const project of PROJECTS) await run(npmProgram("tsc"), ["--noEmit", "--project", project]);
  // Vue's checker knows another compiler than ours.
  const examples = join(root, "examples");
  await npmPackages(examples);
  await run(join(examples, "node_modules", ".bin", "vue-tsc"), ["--noEmit", "--project", examples]);
}

async function rust() {
  const native = await nativeToolchain();
  await rustfmt(native);
  await clippyFor(native);
  say("checking the format of Rust");
  await run(native.cargo, ["fmt", "--all", "--check"], { env: native.env, hint: "`cargo fmt` mends it." });
  say("checking lints of Rust, native");
  await run(
    native.cargo,
    ["clippy", "--locked", "--release", "--workspace", "--all-targets", ...STRICT],
    native,
  );
  const wasm = await wasmToolchain();
  await clippyFor(wasm);
  say("checking lints of Rust, wasm");
  const scope = ["--package", "easel", "--lib", "--profile", "web"];
  await run(wasm.cargo, ["clippy", "--locked", ...scope, ...wasm.args, ...STRICT], wasm);
}

await script(async () => {
  await typescript();
  await rust();
  say("all checks passed");
});
