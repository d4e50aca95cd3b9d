// `npm test`: every test, with what they need set up first. `npm test -- ARGUMENTS` runs the browser tests alone, with
// the arguments for Playwright, such as `-g offline`.
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { chromium, vulkanDriver } from "./lib/browser.mjs";
import { oneClock } from "./lib/clocks.mjs";
import { buildFuzzTargets, fuzz, fuzzTargets } from "./lib/fuzz.mjs";
import { npmPackages, npmProgram } from "./lib/packages.mjs";
import { python } from "./lib/python.mjs";
import { Failure, output, root, say, script, tee } from "./lib/run.mjs";
import { nativeToolchain } from "./lib/rust.mjs";
import { buildSite } from "./lib/site.mjs";
import { buildWasm } from "./lib/wasm.mjs";

/** Inputs of each fuzz target in the short run. */
const FUZZ_RUNS = 5000;

async function rustTests() {
  await vulkanDriver();
  const { cargo, env } = await nativeToolchain();
  say("running the Rust tests (the first time compiles for 10 minutes or more)");
  return tee(cargo, ["test", "--locked", "--release", "--package", "easel", "--no-fail-fast"], { env });
}

/** The starter model's recipe on its smallest settings. Its models are drawn by the command that the Rust tests built. */
async function recipeTests() {
  const { env } = await nativeToolchain();
  const interpreter = await python();
  say("running the tests of the starter model's recipe");
  const easel = join(env.CARGO_TARGET_DIR, "release", "easel");
  return tee(interpreter, [join(root, "models", "starter", "train", "test_recipe.py")], {
    env: { EASEL: easel },
  });
}

/** A short run of what `npm run fuzz` does at length: always the same inputs, made from the same seeds. */
async function fuzzTests() {
  const built = await buildFuzzTargets();
  const runs = [];
  for (const target of fuzzTargets()) {
    const passed = await fuzz(built, target, FUZZ_RUNS, false);
    runs.push({ passed, text: passed ? "1 passed" : "1 failed" });
  }
  return runs;
}

/** Path of a file with every permutation of every shader: `[{name, source}]`. */
async function shaderSources() {
  const { cargo, env } = await nativeToolchain();
  say("writing out every shader for the browser to compile");
  const example = [
    "run",
    "--locked",
    "--quiet",
    "--release",
    "--package",
    "easel",
    "--example",
    "shader_sources",
  ];
  const text = output(cargo, example, { env, loud: true });
  if (text === undefined) throw new Failure("the example `shader_sources` failed, see above.");
  const file = join(root, "build", "shaders.json");
  mkdirSync(join(root, "build"), { recursive: true });
  writeFileSync(file, text);
  return file;
}

async function browserTests(args) {
  const browser = await chromium();
  const shaders = await shaderSources();
  await buildWasm();
  await buildSite();
  say("running the browser tests");
  const [program, ...rest] = [...oneClock(), npmProgram("playwright"), "test", ...args];
  return tee(program, rest, {
    env: { CHROMIUM: browser, EASEL_SHADERS: shaders },
  });
}

/** Sum of what the runners report as "3 passed" or "3 failed". */
function count(runs, word) {
  const counts = runs.flatMap(({ text }) => [...text.matchAll(new RegExp(`^.*?\\b(\\d+) ${word}`, "gm"))]);
  return counts.reduce((sum, [, number]) => sum + Number(number), 0);
}

await script(async (args) => {
  await npmPackages();
  const runs = args.length === 0 ? [await rustTests(), await recipeTests(), ...(await fuzzTests())] : [];
  runs.push(await browserTests(args));
  say(`${count(runs, "passed")} passed, ${count(runs, "failed")} failed`);
  if (!runs.every(({ passed }) => passed)) {
    throw new Failure("tests failed, see above; pictures of the browser's are in test-results/.");
  }
});
