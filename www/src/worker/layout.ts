// Which files a model in diffusers layout has: names only, no requests.
import { EaselError } from "../shared/errors.ts";

export const MODEL_INDEX = "model_index.json";

/** A part of a model: what its folder holds decides which files to look for. */
export interface Part {
  folder: string;
  holds: "weights" | "tokenizer" | "scheduler";
  /** Name of its weights before the extensions. */
  stem: string;
}

/** Parts that do not take part in drawing. */
const IGNORED = new Set(["safety_checker", "feature_extractor", "image_encoder"]);
const FOLDER = /^\w+$/;
const SHARD = /^[\w-][\w.-]*\.safetensors$/;
const MAX_SHARDS = 256;

/** Endings of weights, best first: halves are half the download, and packed or used as halves anyway. */
const ENDINGS = [
  ".fp16.safetensors",
  ".safetensors.index.fp16.json",
  ".fp16.safetensors.index.json",
  ".safetensors",
  ".safetensors.index.json",
];

/** The parts that `model_index.json` lists as `[library, class]`. */
export function parts(modelIndex: string): Part[] {
  const found = Object.entries(parseObject(MODEL_INDEX, modelIndex)).flatMap(([folder, member]) => {
    const [library, name] = Array.isArray(member) ? member : [];
    if (typeof library !== "string" || typeof name !== "string") return [];
    if (IGNORED.has(folder) || !FOLDER.test(folder)) return [];
    const stem = library === "transformers" ? "model" : "diffusion_pytorch_model";
    return [{ folder, holds: contents(name), stem }];
  });
  if (found.length > 0) return found;
  throw new EaselError("bad_config", `${MODEL_INDEX} names no part of a model`);
}

function contents(className: string): Part["holds"] {
  if (className.includes("Tokenizer")) return "tokenizer";
  return className.endsWith("Scheduler") ? "scheduler" : "weights";
}

/** Paths to try for a part's weights, best first. */
export function weightPaths({ folder, stem }: Part): string[] {
  return ENDINGS.map((ending) => `${folder}/${stem}${ending}`);
}

/** Paths of the files that an index of weights names. */
export function shardPaths(index: string, text: string): string[] {
  const map = parseObject(index, text).weight_map;
  const names = [...new Set(Object.values(typeof map === "object" && map !== null ? map : {}))];
  const folder = index.slice(0, index.lastIndexOf("/"));
  const bad = names.find((name) => typeof name !== "string" || !SHARD.test(name));
  if (bad !== undefined || names.length === 0 || names.length > MAX_SHARDS) {
    throw new EaselError(
      "bad_config",
      `${index}: \`weight_map\` does not name safetensors files of its folder`,
    );
  }
  return names.map((name) => `${folder}/${name}`).sort();
}

function parseObject(path: string, text: string): Record<string, unknown> {
  try {
    const document: unknown = JSON.parse(text);
    if (typeof document === "object" && document !== null && !Array.isArray(document)) return { ...document };
  } catch (cause) {
    throw new EaselError("bad_config", `${path} is not JSON`, { cause });
  }
  throw new EaselError("bad_config", `${path} is no JSON object`);
}
