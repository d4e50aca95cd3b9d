// The wasm module and its JavaScript bindings.
import { copyFileSync, existsSync, mkdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { brotliCompress, constants, gzip } from "node:zlib";
import { cache, fingerprint, unlessStamped } from "./cache.mjs";
import { noteCrates } from "./notices.mjs";
import { Failure, output, root, run, say } from "./run.mjs";
import { nativeToolchain, wasmToolchain } from "./rust.mjs";

const PROFILE = "web";
const bindings = join(root, "www", "pkg");
const boundModule = join(bindings, "easel_bg.wasm");

const FEATURES = [
  "simd",
  "bulk-memory",
  "nontrapping-float-to-int",
  "sign-ext",
  "mutable-globals",
  "reference-types",
  "multivalue",
];

// Higher levels make fewer instructions of it, but more bytes after brotli.
const WASM_OPT = ["--yes", "--package", "binaryen@132.0.0", "wasm-opt", "-O1"];
WASM_OPT.push(...FEATURES.map((feature) => `--enable-${feature}`));

/** Most bytes that the module may have on its way to a user, compressed by brotli. */
const MOST_BYTES = 2_000_000;

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
    if (optimize) await shrink();
  });
  await noteCrates(await wasmToolchain());
  say(`the wasm module has ${megabytes(statSync(boundModule).size)}`);
}

/** Throws a `Failure` when the module of `www/pkg/` is larger than it may be. */
export async function checkWasmSize() {
  const bytes = readFileSync(boundModule);
  const params = {
    [constants.BROTLI_PARAM_LGWIN]: constants.BROTLI_MAX_WINDOW_BITS,
    [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length,
  };
  const brotli = (await promisify(brotliCompress)(bytes, { params })).length;
  const gzipped = (await promisify(gzip)(bytes, { level: 9 })).length;
  say(
    `wasm: ${megabytes(bytes.length)}, ${megabytes(gzipped)} by gzip, ${megabytes(brotli)} by brotli ` +
      `(at most ${megabytes(MOST_BYTES)})`,
  );
  if (brotli > MOST_BYTES) {
    throw new Failure(`the wasm module has ${brotli} bytes after brotli, at most ${MOST_BYTES} are allowed.`);
  }
}

function megabytes(bytes) {
  return `${(bytes / 1e6).toFixed(2)} MB`;
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

/** The module of `www/pkg/` by wasm-opt. */
async function shrink() {
  const small = join(cache, "easel_bg.wasm");
  await unlessStamped(`${small}.input`, `${fingerprint([boundModule])} ${WASM_OPT.join(" ")}`, async () => {
    say("optimizing the module with wasm-opt (1 minute)");
    await run("npx", [...WASM_OPT, boundModule, "-o", small]);
  });
  copyFileSync(small, boundModule);
}
