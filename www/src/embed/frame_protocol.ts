// What a page and the frame `embed.html` in it say to each other, version 1. Messages are plain objects.
import type { Picture, Progress, Step } from "../client/types.ts";
import type { PageErrorCode } from "../shared/errors.ts";

export const VERSION = 1;

/** A message's own number or name; its answers carry it. */
export type Id = string | number;

/**
 * What to draw; what is left out stays as it was. Null is the model's own value, a random seed, an empty prompt, the
 * prompt as `alt`.
 */
export interface FrameWish {
  prompt?: string | null;
  negativePrompt?: string | null;
  /** `owner/name`, or an address that the site with the frame may read from; null for the starter model of that site. */
  model?: string | null;
  sampler?: string | null;
  alt?: string | null;
  steps?: number | null;
  guidance?: number | null;
  seed?: number | null;
  width?: number | null;
  height?: number | null;
}

/** From the page to the frame. A picture that is asked for ends the one before. */
export type ToFrame =
  | ({ easel: 1; id: Id; type: "generate" } & FrameWish)
  | { easel: 1; id: Id; type: "stop" };

/** From the frame to the page; `id` is null for what the visitor began in the frame. `ready` is sent once, at the start. */
export type FromFrame =
  | { easel: 1; id: null; type: "ready" }
  | ({ easel: 1; id: Id | null; type: "progress" } & Progress)
  | ({ easel: 1; id: Id | null; type: "step" } & Step)
  | ({ easel: 1; id: Id | null; type: "picture" } & Picture)
  | { easel: 1; id: Id | null; type: "error"; code: PageErrorCode | (string & {}); message: string };

const LONGEST_ID = 100;
const LONGEST_TEXT = 20_000;
const TEXTS = ["prompt", "negativePrompt", "model", "sampler", "alt"] as const;
const NUMBERS = ["steps", "guidance", "seed", "width", "height"] as const;

/** What a message asks for; `fault` is the sentence for a sender who means us and got it wrong. */
export type Reading = { id: Id; command: ToFrame } | { id: Id; code: string; fault: string };

/** Reads whatever was posted; `undefined` for what is none of our messages. */
export function readMessage(data: unknown): Reading | undefined {
  if (typeof data !== "object" || data === null || !("easel" in data)) return undefined;
  const { easel, id, type } = data as Record<string, unknown>;
  if (typeof easel !== "number" || !isId(id)) return undefined;
  const bad = (code: string, fault: string) => ({ id, code, fault });
  if (easel !== VERSION) return bad("unsupported_version", `this frame speaks version ${VERSION}`);
  if (type === "stop") return { id, command: { easel: VERSION, id, type } };
  if (type !== "generate") return bad("bad_message", "`type` is neither `generate` nor `stop`");
  const wish: Record<string, unknown> = {};
  for (const name of [...TEXTS, ...NUMBERS]) {
    const value = (data as Record<string, unknown>)[name];
    if (value === undefined) continue;
    if (!(isText(name) ? fitsText(value) : fitsNumber(value))) {
      return bad("bad_message", `\`${name}\` is not what it should be`);
    }
    wish[name] = value;
  }
  return { id, command: { easel: VERSION, id, type, ...wish } };
}

function isId(id: unknown): id is Id {
  return typeof id === "string" ? id.length <= LONGEST_ID : typeof id === "number" && Number.isFinite(id);
}

function isText(name: string): boolean {
  return (TEXTS as readonly string[]).includes(name);
}

function fitsText(value: unknown): boolean {
  return value === null || (typeof value === "string" && value.length <= LONGEST_TEXT);
}

function fitsNumber(value: unknown): boolean {
  return value === null || (typeof value === "number" && Number.isFinite(value));
}
