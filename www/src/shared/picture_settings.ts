// What a picture's file says of how it was made, in the ways of several tools: the A1111 web UI and its relatives
// (`parameters`), ComfyUI (`prompt`, `workflow`), InvokeAI (`invokeai_metadata`), Fooocus (JSON in `parameters`) and Draw
// Things (JSON in XMP). Everything that is read here may be hostile, and is bounded by `readPng` and `bounded`.
import { comfyFields } from "./comfy_graph.ts";
import { type Infotext, parseInfotext } from "./infotext.ts";
import type { PngText } from "./png_text.ts";
import { ownSampler } from "./sampler_names.ts";
import { bounded } from "./settings.ts";

/** What was found, and by whose convention. */
export interface PictureSettings extends Infotext {
  tool: string;
  /** The text as it stands in the file. */
  raw: string;
}

type Values = Record<string, unknown>;

const MOST_FIELDS = 60;
const LONGEST_VALUE = 2000;

/** `undefined` where no text of the file is of a known kind. */
export function pictureSettings(texts: readonly PngText[]): PictureSettings | undefined {
  const of = (keyword: string) => texts.find((text) => text.keyword === keyword)?.text;
  const parameters = of("parameters");
  const invoke = of("invokeai_metadata");
  const comfy = of("prompt") ?? of("workflow");
  const xmp = of("XML:com.adobe.xmp");
  const found =
    (invoke && invokeAi(invoke)) ||
    (parameters && (fooocus(parameters) ?? webUi(parameters))) ||
    (comfy && comfyUi(comfy)) ||
    (xmp && drawThings(xmp));
  return found || undefined;
}

function webUi(raw: string): PictureSettings {
  const read = parseInfotext(raw);
  const version = read.fields.find(([name]) => name === "Version")?.[1] ?? "";
  return { tool: version.startsWith("easel") ? "Easel" : "the A1111 web UI", raw, ...read };
}

function invokeAi(raw: string): PictureSettings | undefined {
  const values = parsed(raw);
  if (!values) return undefined;
  const { positive_prompt: prompt, cfg_scale: guidance_scale, scheduler } = values;
  const model = object(values.model);
  const { sampler, lacks } = ownSampler(String(scheduler ?? ""));
  const settings = bounded({
    ...values,
    prompt,
    guidance_scale,
    sampler,
    model: model?.name ?? model?.model_name,
  });
  return { tool: "InvokeAI", raw, settings, lacks, fields: fieldsOf(values) };
}

function fooocus(raw: string): PictureSettings | undefined {
  const values = raw.trimStart().startsWith("{") ? parsed(raw) : undefined;
  if (!values) return undefined;
  const [width, height] = numerals(values.resolution);
  const { sampler, lacks } = ownSampler(String(values.sampler ?? ""), String(values.scheduler ?? ""));
  const settings = bounded({
    ...values,
    sampler,
    width,
    height,
    model: values.base_model,
  });
  return { tool: "Fooocus", raw, settings, lacks, fields: fieldsOf(values) };
}

function comfyUi(raw: string): PictureSettings | undefined {
  const graph = parsed(raw);
  const values = graph && comfyFields(graph);
  if (!values) return undefined;
  const { sampler, lacks } = ownSampler(String(values.sampler_name ?? ""), String(values.scheduler ?? ""));
  const settings = bounded({
    ...values,
    guidance_scale: values.cfg,
    sampler,
    strength: partly(values.denoise),
  });
  return { tool: "ComfyUI", raw, settings, lacks, fields: fieldsOf(values) };
}

/** The app's JSON is the picture's comment in XMP (`exif:UserComment`). */
function drawThings(raw: string): PictureSettings | undefined {
  const [, after = ""] = raw.split("<exif:UserComment>", 2);
  const [, comment] = /<rdf:li[^<>]{0,200}>([^<]*)</.exec(after.slice(0, 200_000)) ?? [];
  const values = comment === undefined ? undefined : parsed(xmlText(comment));
  if (!values) return undefined;
  const [width, height] = numerals(values.size);
  const { c: prompt, uc: negative_prompt, scale: guidance_scale } = values;
  const { sampler, lacks } = ownSampler(String(values.sampler ?? ""));
  const strength = partly(values.strength);
  const settings = bounded({
    ...values,
    prompt,
    negative_prompt,
    guidance_scale,
    sampler,
    width,
    height,
    strength,
  });
  return { tool: "Draw Things", raw, settings, lacks, fields: fieldsOf(values) };
}

/** Some tools write 1 for pictures that were made from none. */
function partly(strength: unknown): unknown {
  return strength === 1 ? undefined : strength;
}

function numerals(value: unknown): string[] {
  return (
    String(value ?? "")
      .slice(0, 100)
      .match(/\d+/g) ?? []
  );
}

/** A JSON object; Python's `NaN`, which JSON does not have, is null. */
function parsed(text: string): Values | undefined {
  for (const json of [text, text.replace(/([:,[]\s*)-?(?:NaN|Infinity)/g, "$1null")]) {
    try {
      return object(JSON.parse(json));
    } catch {
      // The second form may do.
    }
  }
  return undefined;
}

function object(value: unknown): Values | undefined {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Values) : undefined;
}

function fieldsOf(values: Values): [string, string][] {
  const shown = Object.entries(values).filter(([, value]) => value !== null && value !== undefined);
  return shown.slice(0, MOST_FIELDS).map(([name, value]) => {
    const text = typeof value === "object" ? JSON.stringify(value) : String(value);
    return [name, text.slice(0, LONGEST_VALUE)];
  });
}

const ENTITIES: Record<string, string> = { lt: "<", gt: ">", amp: "&", quot: '"', apos: "'" };

function xmlText(text: string): string {
  return text.replace(/&(?:#(\d{1,7})|#x([0-9a-f]{1,6})|(\w{2,4}));/gi, (whole, decimal, hex, name) => {
    const code = decimal ? Number(decimal) : hex ? Number.parseInt(hex, 16) : undefined;
    if (code === undefined) return ENTITIES[name] ?? whole;
    return code <= 0x10ffff ? String.fromCodePoint(code) : whole;
  });
}
