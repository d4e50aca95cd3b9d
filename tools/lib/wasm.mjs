// The wasm module and its JavaScript bindings.
import { existsSync, mkdirSync, readFileSync, renameSync, statSync } from "node:fs";
import { join } from "node:path";
import { cache, fingerprint, unlessStamped } from "./cache.mjs";
import { output, root, run, say } from "./run.mjs";
import { nativeToolchain, wasmToolchain } from "./rust.mjs";

const PROFILE = "web";
const bindings = join(root, "www", "pkg");

/** Compiles the crate for wasm and writes `www/pkg/`. */
export async function buildWasm({ optimize = false } = {}) {
  const module = await compile();
  mkdirSync(bindings, { recursive: true });
  const inputs = [
    module,
    join(root, "tools", "bindgen", "Cargo.lock"),
    join(root, "tools", "bindgen", "src", "main.rs"),
  ];
  const value = `${fingerprint(inputs)} ${optimize ? "optimized" : "plain"}`;
  await unlessStamped(join(bindings, ".inputs"), value, async () => {
    await bind(module);
    if (optimize) await shrink(join(bindings, "easel_bg.wasm"));
  });
  const megabytes = statSync(join(bindings, "easel_bg.wasm")).size / 1e6;
  say(`the wasm module has ${megabytes.toFixed(1)} MB`);
}

async function compile() {
  const { cargo, args, env } = await wasmToolchain();
  say("compiling the engine to WebAssembly (the first time takes 10 minutes or more)");
  await run(cargo, ["build", "--locked", "--package", "easel", "--lib", "--profile", PROFILE, ...args], {
    env,
    hint: "The compiler's messages are above.",
  });
  return join(env.CARGO_TARGET_DIR, "wasm32-unknown-unknown", PROFILE, "easel.wasm");
}

async function bind(module) {
  const bindgen = await bindgenProgram();
  say("writing the JavaScript bindings");
  await run(bindgen.program, bindgen.args(module, bindings));
}

function bindgenVersion() {
  const lock = readFileSync(join(root, "tools", "bindgen", "Cargo.lock"), "utf8");
  return lock.match(/name = "wasm-bindgen-cli-support"\nversion = "([^"]+)"/)?.[1];
}

async function bindgenProgram() {
  if (output("wasm-bindgen", ["--version"]) === `wasm-bindgen ${bindgenVersion()}`) {
    const options = [
      "--target",
      "web",
      "--out-name",
      "easel",
      "--remove-name-section",
      "--remove-producers-section",
    ];
    return { program: "wasm-bindgen", args: (module, out) => [...options, "--out-dir", out, module] };
  }
  const { cargo, env } = await nativeToolchain();
  const manifest = join(root, "tools", "bindgen", "Cargo.toml");
  const program = join(env.CARGO_TARGET_DIR, "release", "easel-bindgen");
  if (!existsSync(program)) say("compiling the bindings generator (2 minutes, once)");
  await run(cargo, ["build", "--locked", "--quiet", "--release", "--manifest-path", manifest], { env });
  return { program, args: (module, out) => [module, out] };
}

async function shrink(module) {
  say("optimizing the module with wasm-opt (3 minutes)");
  const small = join(cache, "easel_bg.wasm");
  const features = [
    "simd",
    "bulk-memory",
    "nontrapping-float-to-int",
    "sign-ext",
    "mutable-globals",
    "reference-types",
    "multivalue",
  ];
  const flags = features.map((feature) => `--enable-${feature}`);
  await run("npx", [
    "--yes",
    "--package",
    "binaryen@132.0.0",
    "wasm-opt",
    "-O2",
    ...flags,
    module,
    "-o",
    small,
  ]);
  renameSync(small, module);
}
