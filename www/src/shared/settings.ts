// How a picture was made, as far as it is known: from the form, a link, or a file of this or another tool.
import type { GenerateParams } from "./protocol.ts";

/** Fields of a request, and the model; absent is what nobody told. */
export interface Settings {
  prompt?: string;
  negative_prompt?: string;
  steps?: number;
  guidance_scale?: number;
  /** A name of the engine's samplers. */
  sampler?: string;
  seed?: number;
  width?: number;
  height?: number;
  /** Of a picture that was made from another one, 0 to 1. */
  strength?: number;
  /** Name or address of the model. */
  model?: string;
}

/** Most UTF-16 units of a prompt that comes from outside. */
export const LONGEST_PROMPT = 20_000;
const LONGEST_NAME = 1000;
/** Most characters of a link's fragment that are looked at. */
const LONGEST_FRAGMENT = 100_000;

type Check = (value: unknown) => string | number | undefined;

const CHECKS: Record<keyof Settings, Check> = {
  prompt: text(LONGEST_PROMPT),
  negative_prompt: text(LONGEST_PROMPT),
  steps: number(1, 1000, true),
  guidance_scale: number(0, 100, false),
  sampler: name(/^[a-z0-9-]{1,40}$/),
  seed: number(0, Number.MAX_SAFE_INTEGER, true),
  width: number(8, 2048, true),
  height: number(8, 2048, true),
  strength: number(0, 1, false),
  model: text(LONGEST_NAME),
};
const NAMES = Object.keys(CHECKS) as (keyof Settings)[];

/** What of some values can be settings: a value of a wrong kind or out of bounds is left out, a long prompt is cut. */
export function bounded(values: Partial<Record<keyof Settings, unknown>>): Settings {
  const entries = NAMES.map((key) => [key, CHECKS[key](values[key])] as const);
  return Object.fromEntries(entries.filter(([, value]) => value !== undefined));
}

/** A run's parameters without the bytes of pictures. */
export function settingsOf(params: GenerateParams, model?: string): Settings {
  const { strength, ...others } = params;
  return bounded({ ...others, ...(params.image && { strength }), model });
}

/** Settings as the fragment of a link, without the `#`. */
export function toFragment(settings: Settings): string {
  const entries = NAMES.map((key) => [key, settings[key]] as const).filter(
    ([key, value]) => value !== undefined && key !== "strength",
  );
  return new URLSearchParams(entries.map(([key, value]) => [key, String(value)])).toString();
}

/** Settings in a link's fragment, with or without the `#`; whatever else is in it is passed over. */
export function fromFragment(fragment: string): Settings {
  if (fragment.length > LONGEST_FRAGMENT) return {};
  const values = new URLSearchParams(fragment.replace(/^#/, ""));
  const { strength: _, ...settings } = bounded(Object.fromEntries(values));
  return settings;
}

function text(longest: number): Check {
  return (value) => {
    if (typeof value !== "string") return undefined;
    // NUL ends texts in files; half a surrogate pair is no letter.
    return value
      .slice(0, longest)
      .replaceAll("\0", "")
      .replace(/\p{Cs}/gu, "\ufffd");
  };
}

function name(pattern: RegExp): Check {
  return (value) => (typeof value === "string" && pattern.test(value) ? value : undefined);
}

function number(least: number, most: number, whole: boolean): Check {
  return (value) => {
    const isNumeral = typeof value === "string" && /^\s*\d[\d.eE+-]{0,30}\s*$/.test(value);
    const found = isNumeral ? Number(value) : value;
    if (typeof found !== "number" || !(found >= least && found <= most)) return undefined;
    return whole && !Number.isInteger(found) ? undefined : found;
  };
}
