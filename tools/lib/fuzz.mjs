// Builds the fuzz targets for libFuzzer with the stable compiler, and runs them.
import { mkdirSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { cache } from "./cache.mjs";
import { debianPackages } from "./packages.mjs";
import { output, root, run, say, tee } from "./run.mjs";
import { nativeToolchain } from "./rust.mjs";

// Bytes of one input and megabytes of the process; seconds for one input on a busy machine.
const LIMITS = ["-max_len=65536", "-rss_limit_mb=2048", "-timeout=60"];

/** Names of the targets: files of `fuzz/targets`. */
export function fuzzTargets() {
  return readdirSync(join(root, "fuzz", "targets")).map((file) => file.replace(/\.rs$/, ""));
}

/** Builds targets and seeds: `{programs, seeds}`, two folders. */
export async function buildFuzzTargets() {
  const { cargo, env } = await nativeToolchain();
  if (output("c++", ["--version"]) === undefined) await debianPackages(["g++"], "building libFuzzer");
  // Watches Easel's own code alone; what it depends on would slow the targets down.
  const watched = { ...env, RUSTC_WORKSPACE_WRAPPER: join(root, "tools", "watched_rustc.sh") };
  say("building the fuzz targets (the first time compiles for 10 minutes)");
  await run(
    cargo,
    ["build", "--locked", "--profile", "fuzz", "--package", "easel-fuzz", "--bins", "--examples"],
    {
      env: watched,
    },
  );
  const programs = join(env.CARGO_TARGET_DIR, "fuzz");
  const seeds = join(cache, "fuzz", "seeds");
  rmSync(seeds, { recursive: true, force: true });
  await run(join(programs, "examples", "seeds"), [seeds]);
  return { programs, seeds };
}

/**
 * Runs one target over `runs` inputs; what it learns stays in the cache folder, and an input that fails in `build/fuzz`.
 * Resolves to whether it passed.
 */
export async function fuzz({ programs, seeds }, target, runs, learns = true) {
  const corpus = join(cache, "fuzz", learns ? "corpus" : "scratch", target);
  const failed = join(root, "build", "fuzz");
  if (!learns) rmSync(corpus, { recursive: true, force: true });
  for (const folder of [corpus, failed]) mkdirSync(folder, { recursive: true });
  say(`fuzzing ${target}: ${runs} inputs`);
  const flags = [`-runs=${runs}`, `-artifact_prefix=${failed}/${target}-`, "-verbosity=0", ...LIMITS];
  const dictionary = `-dict=${join(root, "fuzz", "json.dict")}`;
  const seeded = learns ? [] : ["-seed=1"];
  const folders = [corpus, join(seeds, target)];
  const { passed } = await tee(join(programs, target), [...flags, ...seeded, dictionary, ...folders]);
  return passed;
}
