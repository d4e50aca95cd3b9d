// The npm package: the engine's API and the custom element as plain modules, with the worker and the wasm module beside
// them, in build/npm/.
import { copyFileSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join, posix } from "node:path";
import { allNotices, NOTICES } from "./notices.mjs";
import { npmProgram } from "./packages.mjs";
import { root, run, say } from "./run.mjs";

const TOOLS = join(root, "tools", "npm");
const WASM_BINDINGS = join(root, "www", "pkg", "easel.js");

/** Exported names and the sources behind them, below `www/src/`. */
const ENTRIES = { easel: "client/index.ts", element: "embed/element.ts" };

/**
 * Builds the package into `folder`. `www/pkg/` must exist; tests put another engine in the place of its `bindings`.
 */
export async function buildNpmPackage({
  folder = join(root, "build", "npm"),
  bindings = WASM_BINDINGS,
} = {}) {
  say("building the npm package");
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  await buildWorker(join(folder, "dist"), bindings);
  await buildModules(join(folder, "dist"));
  await writeTypes(join(folder, "types"));
  for (const name of ["LICENSE-MIT", "LICENSE-APACHE"]) copyFileSync(join(root, name), join(folder, name));
  copyFileSync(join(root, "assets", "clip", "LICENSE"), join(folder, "dist", "merges-LICENSE.txt"));
  writeFileSync(join(folder, NOTICES), allNotices());
  copyFileSync(join(TOOLS, "README.md"), join(folder, "README.md"));
  writeFileSync(join(folder, "package.json"), `${JSON.stringify(packageJson(), null, 2)}\n`);
}

const common = (outDir) => ({
  configFile: false,
  root: join(root, "www"),
  base: "./",
  publicDir: false,
  logLevel: "warn",
  build: { outDir, emptyOutDir: false, target: "es2022", modulePreload: false, assetsInlineLimit: 0 },
});

/** One file, so that sites can serve it from anywhere as it is. */
async function buildWorker(outDir, bindings) {
  const { build, mergeConfig } = await import("vite");
  const output = { entryFileNames: "[name].js", assetFileNames: "[name][extname]", codeSplitting: false };
  const input = { worker: join(root, "www", "src", "worker", "worker.ts") };
  const worker = {
    resolve: { alias: { "easel-wasm": bindings } },
    build: { rolldownOptions: { input, output } },
  };
  await build(mergeConfig(common(outDir), worker));
}

async function buildModules(outDir) {
  const { build, mergeConfig } = await import("vite");
  const entry = Object.fromEntries(
    Object.entries(ENTRIES).map(([name, path]) => [name, join(root, "www", "src", path)]),
  );
  const modules = {
    plugins: [engineFiles()],
    build: {
      minify: false,
      lib: { entry, formats: ["es"], fileName: (_format, name) => `${name}.js` },
      rolldownOptions: { output: { chunkFileNames: "engine.js" } },
    },
  };
  await build(mergeConfig(common(outDir), modules));
}

/** The package's own addresses, left as they are written for the bundlers of other sites. */
function engineFiles() {
  const id = "./engine_files.js";
  return {
    name: "easel:engine-files",
    enforce: "pre",
    resolveId: (source) => (source.endsWith("/engine_files.ts") ? { id, external: true } : undefined),
    generateBundle() {
      const source = readFileSync(join(TOOLS, "engine_files.js"));
      this.emitFile({ type: "asset", fileName: "engine_files.js", source });
    },
  };
}

/** Declarations of what the entries reach; the others describe nothing that users see. */
async function writeTypes(folder) {
  const all = join(root, "build", "npm-types");
  rmSync(all, { recursive: true, force: true });
  const project = join(root, "www", "src", "embed");
  const where = ["--rootDir", join(root, "www", "src"), "--outDir", all, "--project", project];
  await run(npmProgram("tsc"), [
    "--declaration",
    "--emitDeclarationOnly",
    "--stripInternal",
    "--noEmit",
    "false",
    ...where,
  ]);
  copyFileSync(join(root, "www", "pkg", "easel.d.ts"), join(all, "easel-wasm.d.ts"));
  const written = new Set();
  const write = (path) => {
    if (written.has(path)) return;
    written.add(path);
    const text = readFileSync(join(all, path), "utf8").replace(
      /(from |import\(|import )"([^"]+)"/g,
      (_, before, source) => {
        const target =
          source === "easel-wasm" ? "easel-wasm.d.ts" : posix.join(posix.dirname(path), declarations(source));
        write(target);
        const relative = posix.relative(posix.dirname(path), target).replace(/\.d\.ts$/, ".js");
        return `${before}"${relative.startsWith(".") ? relative : `./${relative}`}"`;
      },
    );
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), text);
  };
  for (const path of Object.values(ENTRIES)) write(declarations(path));
}

const declarations = (path) => path.replace(/\.ts$/, ".d.ts");

function packageJson() {
  const { name, version, description, license } = JSON.parse(
    readFileSync(join(root, "package.json"), "utf8"),
  );
  const entry = (key) => ({
    types: `./types/${declarations(ENTRIES[key])}`,
    default: `./dist/${key}.js`,
  });
  return {
    name,
    version,
    description,
    license,
    type: "module",
    exports: {
      ".": entry("easel"),
      "./element": entry("element"),
      "./worker": "./dist/worker.js",
      "./wasm": "./dist/easel_bg.wasm",
      "./package.json": "./package.json",
    },
    sideEffects: ["./dist/element.js"],
    files: ["dist", "types", "LICENSE-*", NOTICES],
    keywords: ["text-to-image", "stable-diffusion", "webgpu", "wasm", "web-component"],
  };
}
