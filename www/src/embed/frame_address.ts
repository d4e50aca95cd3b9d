import { EaselError } from "../shared/errors.ts";

/** Attributes of `<easel-image>` that the frame's address may set. */
export const ATTRIBUTES = [
  "prompt",
  "negative-prompt",
  "sampler",
  "steps",
  "guidance",
  "seed",
  "width",
  "height",
  "alt",
  "poster",
  "loading",
];

/** What the part behind `#` of a frame's address asks for. */
export interface FrameAddress {
  attributes: ReadonlyMap<string, string>;
  model: string | null;
  /** False by `controls=0`. */
  controls: boolean;
  /** The only origin to listen to. */
  origin: string | null;
}

/** Reads `#prompt=…&steps=…&controls=0&origin=https://…`. Throws `bad_parameter` for an origin that is none. */
export function readFrameAddress(hash: string): FrameAddress {
  const asked = new URLSearchParams(hash.replace(/^#/, ""));
  const given = ATTRIBUTES.flatMap((name) => {
    const value = asked.get(name);
    return value === null ? [] : [[name, value] as const];
  });
  const origin = asked.get("origin");
  if (origin !== null && !(URL.canParse(origin) && new URL(origin).origin === origin)) {
    throw new EaselError(
      "bad_parameter",
      "`origin` in this frame's address is no origin such as https://example.org",
    );
  }
  return {
    attributes: new Map(given),
    model: asked.get("model"),
    controls: asked.get("controls") !== "0",
    origin,
  };
}
