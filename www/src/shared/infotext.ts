// The text that the A1111 web UI puts into its pictures under the keyword `parameters`, and that most tools read: the
// prompt, a line `Negative prompt: …`, and a last line of `Key: value, …` (its `modules/infotext_utils.py`).
import { infotextSampler, ownSampler } from "./sampler_names.ts";
import { bounded, type Settings } from "./settings.ts";

/** Settings, and every field of the text as it stands there. */
export interface Infotext {
  settings: Settings;
  /** What the settings could not take over, because the engine does not have it. */
  lacks: string | undefined;
  fields: [name: string, value: string][];
}

const NEGATIVE = "Negative prompt:";
/** Fewer pairs than this in the last line make it a part of the prompt. */
const LEAST_PAIRS = 3;
/** Bounded keys keep the search linear in hostile texts. */
const PAIR = /([\p{L}\p{N}_][\p{L}\p{N}_ \-/]{1,60}):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)/gu;

/** The text of a picture; `version` names this program. Fields that are not known are left out. */
export function formatInfotext(settings: Settings, version: string): string {
  const { prompt = "", negative_prompt = "", steps, sampler, guidance_scale, seed, width, height } = settings;
  const named = sampler ? infotextSampler(sampler) : undefined;
  const pairs: [string, string | number | undefined][] = [
    ["Steps", steps],
    ["Sampler", named?.sampler],
    ["Schedule type", named?.schedule],
    ["CFG scale", guidance_scale],
    ["Seed", seed],
    ["Size", width && height && `${width}x${height}`],
    ["Model", settings.model],
    ["Denoising strength", settings.strength],
    ["RNG", "CPU"],
    ["Version", version],
  ];
  const known = pairs.filter(([, value]) => value !== undefined);
  const last = known.map(([key, value]) => `${key}: ${quoted(String(value))}`).join(", ");
  const lines = [prompt, negative_prompt && `${NEGATIVE} ${negative_prompt}`, last];
  return lines.filter((line) => line !== "").join("\n");
}

/** Reads such a text, whoever wrote it. */
export function parseInfotext(text: string): Infotext {
  const lines = text.trim().split("\n");
  const pairs = [...(lines.at(-1) ?? "").matchAll(PAIR)].map(
    ([, key = "", value = ""]) => [key, unquoted(value.trim())] as [string, string],
  );
  if (pairs.length >= LEAST_PAIRS) lines.pop();
  else pairs.length = 0;
  const { prompt, negative_prompt } = prompts(lines);
  const of = new Map(pairs);
  const [, width, height] = /^(\d+)x(\d+)$/.exec(of.get("Size") ?? "") ?? [];
  const { sampler, lacks } = ownSampler(of.get("Sampler") ?? "", of.get("Schedule type"));
  const settings = bounded({
    prompt,
    negative_prompt,
    steps: of.get("Steps"),
    guidance_scale: of.get("CFG scale"),
    sampler,
    seed: of.get("Seed"),
    width,
    height,
    strength: of.get("Denoising strength"),
    model: of.get("Model"),
  });
  const skip = Number(of.get("Clip skip") ?? 1);
  const lacking = [lacks, skip > 1 && "clip skip"].filter(Boolean);
  return {
    settings,
    lacks: lacking.join(" and ") || undefined,
    fields: [["Prompt", prompt], [NEGATIVE.slice(0, -1), negative_prompt], ...pairs],
  };
}

function prompts(lines: string[]): { prompt: string; negative_prompt: string } {
  const negative = lines.findIndex((line) => line.trim().startsWith(NEGATIVE));
  const end = negative < 0 ? lines.length : negative;
  const join = (part: string[]) =>
    part
      .map((line) => line.trim())
      .join("\n")
      .trim();
  return {
    prompt: join(lines.slice(0, end)),
    negative_prompt: join(lines.slice(end)).slice(NEGATIVE.length).trim(),
  };
}

function quoted(value: string): string {
  return /[,:\n"]/.test(value) ? JSON.stringify(value) : value;
}

function unquoted(value: string): string {
  if (!/^".*"$/.test(value)) return value;
  try {
    return String(JSON.parse(value));
  } catch {
    return value;
  }
}
