// The tarball of the npm package in a fresh Vite project, with the real engine, under a strict policy.
import { execFileSync } from "node:child_process";
import { copyFileSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { build } from "vite";
import { buildNpmPackage } from "../../tools/lib/npm_package.mjs";
import { manifest, readModel } from "../../tools/vite/bundled_model.mjs";
import { expect, pngSize, test } from "./easel_page.ts";
import { inRoot, Site } from "./embedding_site.ts";
import { STARTER, starterSide } from "./starter_model.ts";

const PACKAGE = inRoot("build", "npm");
const PROJECT = inRoot("build", "consumer");

const INDEX = `<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Consumer</title><script type="module" src="./main.ts"></script></html>
`;

/** A project's use of the package, checked by its types. */
const MAIN = `
import { Easel, EaselError, type Picture } from "easel";
import { EaselImage } from "easel/element";
import { draw as drawOn } from "./draw";

export async function draw(model: string): Promise<{ steps: number[]; seed: number; png: string }> {
  const easel = await Easel.load(model, { device: "cpu" });
  const run = easel.generate({ prompt: "a purple heart on an orange background", steps: 4, seed: 4 });
  const steps: number[] = [];
  for await (const { index, picture } of run) {
    steps.push(index);
    picture.close();
  }
  const { png, seed }: Picture = await run.result;
  const bad = await easel.generate({ prompt: "a star", width: 13 }).result.catch((error: EaselError) => error);
  if (!(bad instanceof EaselError) || bad.code !== "bad_parameter") throw new Error("a width of 13 was taken");
  easel.dispose();
  const bytes = new Uint8Array(await png.arrayBuffer());
  return { steps, seed, png: btoa(String.fromCharCode(...bytes)) };
}

/** Whether the canvas of the React example ends as the picture's own size and pixels. */
export async function drawExample(model: string): Promise<boolean> {
  const canvas = document.createElement("canvas");
  const { png, width, height } = await drawOn(model, "a star", canvas, () => {}, new AbortController().signal);
  const own = Object.assign(document.createElement("canvas"), { width, height });
  own.getContext("2d")?.drawImage(await createImageBitmap(png), 0, 0);
  return canvas.toDataURL() === own.toDataURL();
}

const element: EaselImage = document.createElement("easel-image");
element.addEventListener("step", ({ detail }) => detail.index.toFixed());
Object.assign(globalThis, { draw, drawExample });
`;

const TYPES = {
  compilerOptions: {
    target: "ES2022",
    module: "ESNext",
    moduleResolution: "bundler",
    lib: ["ES2022", "DOM", "DOM.Iterable"],
    types: [],
    strict: true,
    noEmit: true,
  },
  files: ["main.ts", "draw.ts"],
};

/** Packs the package as for the registry, and unpacks it as an installation does. */
function install(): void {
  rmSync(PROJECT, { recursive: true, force: true });
  const installed = join(PROJECT, "node_modules", "easel");
  mkdirSync(installed, { recursive: true });
  const pack = ["pack", "--json", "--offline", "--pack-destination", PROJECT];
  const [packed] = JSON.parse(execFileSync("npm", pack, { cwd: PACKAGE, encoding: "utf8" }));
  const paths = packed.files.map(({ path }: { path: string }) => path);
  for (const path of ["README.md", "LICENSE-MIT", "LICENSE-APACHE", "dist/worker.js", "dist/easel_bg.wasm"]) {
    expect(paths).toContain(path);
  }
  execFileSync("tar", ["-xzf", join(PROJECT, packed.filename), "-C", installed, "--strip-components=1"]);
  writeFileSync(join(PROJECT, "index.html"), INDEX);
  writeFileSync(join(PROJECT, "main.ts"), MAIN);
  copyFileSync(inRoot("examples", "react", "draw.ts"), join(PROJECT, "draw.ts"));
  writeFileSync(join(PROJECT, "tsconfig.json"), JSON.stringify(TYPES));
}

declare global {
  var draw: ((model: string) => Promise<{ steps: number[]; seed: number; png: string }>) | undefined;
  var drawExample: ((model: string) => Promise<boolean>) | undefined;
}

test("draws from the tarball in a fresh project, from a folder of another site's", async ({ easel }) => {
  test.setTimeout(400_000);
  await buildNpmPackage({ folder: PACKAGE });
  install();
  execFileSync(inRoot("node_modules", ".bin", "tsc"), ["--project", PROJECT], { stdio: "inherit" });
  await build({ root: PROJECT, base: "./", configFile: false, logLevel: "warn" });
  const models = await Site.open({ "Access-Control-Allow-Origin": "*" });
  models
    .folder("/starter/", `${STARTER}/`)
    .put("/starter/manifest.json", JSON.stringify(manifest(readModel(STARTER))));
  const policy = [
    "default-src 'none'",
    "script-src 'self' 'wasm-unsafe-eval'",
    "worker-src 'self'",
    `connect-src 'self' ${models.origin}`,
    "require-trusted-types-for 'script'; trusted-types easel",
  ].join("; ");
  const host = (await Site.open({ "Content-Security-Policy": policy })).folder(
    "/deep/down/",
    join(PROJECT, "dist/"),
  );
  try {
    await easel.page.goto(`${host.origin}/deep/down/index.html`);
    await easel.page.waitForFunction(() => globalThis.draw !== undefined);
    const drawn = await easel.page.evaluate((model) => globalThis.draw?.(model), `${models.origin}/starter/`);
    expect(drawn?.steps).toEqual([1, 2, 3, 4]);
    expect(drawn?.seed).toBe(4);
    expect(pngSize(Buffer.from(drawn?.png ?? "", "base64"))).toEqual({
      width: starterSide(),
      height: starterSide(),
    });
    const example = easel.page.evaluate(
      (model) => globalThis.drawExample?.(model),
      `${models.origin}/starter/`,
    );
    expect(await example).toBe(true);
  } finally {
    host.close();
    models.close();
  }
});
