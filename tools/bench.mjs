// `npm run bench`: Easel beside onnxruntime-web, alternately in one browser session on the same UNet.
// Options: see OPTIONS below. `tests/bench/README.md` says what is measured.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { benchCache } from "../tests/bench/bench_files.mjs";
import { chromium } from "./lib/browser.mjs";
import { fingerprint, unlessStamped } from "./lib/cache.mjs";
import { npmPackages } from "./lib/packages.mjs";
import { python, REQUIREMENTS } from "./lib/python.mjs";
import { Failure, root, run, say, script } from "./lib/run.mjs";
import { buildWasm } from "./lib/wasm.mjs";

const OPTIONS = {
  adapter: { type: "string", default: "default" },
  size: { type: "string", default: "small" },
  devices: { type: "string", default: "gpu,cpu" },
  rounds: { type: "string", default: "5" },
  threads: { type: "string", default: "1" },
  load: { type: "string" },
  json: { type: "string" },
  serve: { type: "boolean", default: false },
};
const COMMON_ARGS = [
  "--headless=new",
  "--no-sandbox",
  "--enable-unsafe-webgpu",
  "--disable-quic",
  "--no-first-run",
];
const ADAPTERS = {
  default: [],
  swiftshader: ["--use-webgpu-adapter=swiftshader"],
  // Through OpenGL ES over Vulkan, the way by which Chromium takes lavapipe; `VK_ICD_FILENAMES` names the driver.
  lavapipe: [
    "--use-webgpu-adapter=opengles",
    "--force-webgpu-compat",
    "--use-angle=vulkan",
    "--enable-features=Vulkan",
  ],
};
const SIZES = ["small", "medium", "large"];
const HERE = join(root, "tests", "bench");

function options(args) {
  try {
    const { values } = parseArgs({ args, options: OPTIONS });
    if (!(values.adapter in ADAPTERS))
      throw new Error(`--adapter is one of ${Object.keys(ADAPTERS).join(", ")}`);
    if (!SIZES.includes(values.size)) throw new Error(`--size is one of ${SIZES.join(", ")}`);
    if (!/^[1-9]\d*$/.test(values.rounds)) throw new Error("--rounds is a number from 1");
    if (!/^[1-9]\d*$/.test(values.threads)) throw new Error("--threads is a number from 1");
    if (!/^(gpu|cpu)(,(gpu|cpu))*$/.test(values.devices)) throw new Error("--devices is gpu, cpu or gpu,cpu");
    return values;
  } catch (error) {
    throw new Failure(error.message);
  }
}

/** The UNet of a size, in the cache. */
async function exportedUNet(size) {
  const exporter = join(HERE, "export_unet.py");
  const folder = join(benchCache, `unet-${size}`);
  mkdirSync(folder, { recursive: true });
  await unlessStamped(join(folder, ".exporter"), fingerprint([exporter, ...REQUIREMENTS]), async () => {
    const interpreter = await python();
    say(`exporting the ${size} UNet`);
    await run(interpreter, [exporter, size, folder]);
  });
}

async function server() {
  const { build, preview } = await import("vite");
  const configFile = join(HERE, "vite.config.js");
  await build({ configFile, logLevel: "warn" });
  const served = await preview({ configFile, preview: { port: 0 }, logLevel: "warn" });
  return { url: served.resolvedUrls.local[0], close: () => served.close() };
}

/** Opens the page in a browser and returns what it measured. The profile lies on the disk, as users' do. */
async function measured(url, adapter) {
  const { chromium: launcher } = await import("@playwright/test");
  const args = [...COMMON_ARGS, ...ADAPTERS[adapter]];
  mkdirSync(benchCache, { recursive: true });
  const profile = mkdtempSync(join(benchCache, "profile-"));
  const browser = await launcher.launchPersistentContext(profile, { executablePath: await chromium(), args });
  try {
    const page = await browser.newPage();
    page.on("console", (message) => process.stdout.write(`${message.text()}\n`));
    await page.goto(url);
    return await page.evaluate(() => window.measured);
  } catch (error) {
    throw new Failure(`${error.message} Without a graphics card use --adapter swiftshader.`);
  } finally {
    await browser.close();
    rmSync(profile, { recursive: true, force: true });
  }
}

function report(results, file) {
  const text = JSON.stringify({ date: new Date().toISOString(), ...results }, undefined, 1);
  process.stdout.write(`${text}\n`);
  if (!file) return;
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, `${text}\n`);
}

await script(async (args) => {
  const { adapter, size, devices, rounds, threads, load, json, serve } = options(args);
  await npmPackages();
  if (load) process.env.EASEL_BENCH_MODEL = resolve(load);
  else {
    // What is compared with, beside the page that loads it.
    await npmPackages(HERE);
    await exportedUNet(size);
  }
  await buildWasm();
  const { url, close } = await server();
  const asked = load ? { load, rounds } : { size, devices, rounds, threads };
  const page = `${url}?${new URLSearchParams(asked)}`;
  if (serve) {
    say(`the benchmark is at ${page} (Ctrl+C ends it)`);
    return;
  }
  try {
    const results = await measured(page, adapter);
    report(load ? { loadings: results } : { comparisons: results }, json);
  } finally {
    await close();
  }
});
