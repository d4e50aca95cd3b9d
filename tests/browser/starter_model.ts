// What the bundled model's own files say of it, so that tests hold for whichever model is bundled.
import { readFileSync } from "node:fs";
import { inRoot } from "./embedding_site.ts";

/** The folder of the checkout with its files. */
export const STARTER = inRoot("models", "starter");

const config = (part: string) => JSON.parse(readFileSync(`${STARTER}/${part}/config.json`, "utf8"));

/** Width and height of its pictures: that of its latents, and as many doublings as its decoder has steps up. */
export function starterSide(): number {
  return config("unet").sample_size * 2 ** (config("vae").block_out_channels.length - 1);
}
