// Folders and files of a user's device, made for tests.
import { createHash, randomBytes } from "node:crypto";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { safetensors } from "./safetensors.ts";

export const WEIGHTS = "unet/diffusion_pytorch_model.safetensors";
const INDEX = {
  _class_name: "StableDiffusionPipeline",
  scheduler: ["diffusers", "DDIMScheduler"],
  unet: ["diffusers", "UNet2DConditionModel"],
};

type Contents = string | Uint8Array;

/** Files of a model in diffusers layout that the scripted engine takes. */
export function modelFiles(size = 9_000_000): Record<string, Contents> {
  return {
    "model_index.json": JSON.stringify(INDEX),
    "scheduler/scheduler_config.json": "{}",
    "unet/config.json": "{}",
    [WEIGHTS]: randomBytes(size),
  };
}

/** Adds a manifest; `wrong` changes what it says of files. */
export function withManifest(files: Record<string, Contents>, wrong = {}): Record<string, Contents> {
  const entries = Object.entries(files).map(([path, contents]) => {
    const bytes = Buffer.from(contents);
    const sha256 = createHash("sha256").update(bytes).digest("hex");
    return { path, size: bytes.length, sha256, ...wrong };
  });
  return { ...files, "manifest.json": JSON.stringify({ version: 1, files: entries }) };
}

/** A safetensors file with tensors of these names, one number each. */
export function weightsNamed(names: string[]): Buffer {
  return safetensors(names.map((name) => ({ name, dtype: "F32", shape: [1], bytes: randomBytes(4) })));
}

/** Writes a folder of that name, with files by path, into a new place; gives its path. */
export function folder(name: string, files: Record<string, Contents>): string {
  const place = join(mkdtempSync(join(tmpdir(), "easel-")), name);
  mkdirSync(place);
  for (const [path, contents] of Object.entries(files)) {
    mkdirSync(dirname(join(place, path)), { recursive: true });
    writeFileSync(join(place, path), contents);
  }
  return place;
}

/** SHA-256 of each file below a folder. */
export function hashes(place: string): Record<string, string> {
  const paths = readdirSync(place, { recursive: true, withFileTypes: true }).filter((entry) =>
    entry.isFile(),
  );
  const found = paths.map((entry) => join(entry.parentPath, entry.name));
  return Object.fromEntries(
    found.map((path) => [
      path.slice(place.length + 1),
      createHash("sha256").update(readFileSync(path)).digest("hex"),
    ]),
  );
}
