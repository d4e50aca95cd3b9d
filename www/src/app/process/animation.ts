import { animatedPng } from "../../shared/animated_png.ts";
import { EaselError } from "../../shared/errors.ts";
import type { Take } from "./take.ts";

/** Small pictures are enlarged to this, by a whole factor, so that they are to be seen in any viewer. */
const LEAST_SIDE = 256;
const NOISE_MS = 700;
const PICTURE_MS = 2500;
/** All steps together take about this long, within what an eye can follow. */
const STEPS_MS = 3000;
const [SHORTEST_MS, LONGEST_MS] = [40, 200];

/** A take as an animated PNG file, from noise to picture. */
export async function animationOf({ frames }: Take): Promise<Blob> {
  const [first] = frames;
  if (!first) throw new EaselError("internal", "there is no picture to animate");
  const scale = Math.ceil(LEAST_SIDE / Math.max(first.picture.width, first.picture.height));
  const canvas = new OffscreenCanvas(first.picture.width * scale, first.picture.height * scale);
  // Without an alpha channel all frames get the same kind of pixels.
  const context = canvas.getContext("2d", { alpha: false });
  if (!context) throw new EaselError("internal", "the browser gave no 2D canvas to draw the animation with");
  context.imageSmoothingQuality = "high";
  const step = Math.min(LONGEST_MS, Math.max(SHORTEST_MS, STEPS_MS / frames.length));
  const durations = { noise: NOISE_MS, step, picture: PICTURE_MS };
  const pngs = [];
  for (const { picture, moment } of frames) {
    context.drawImage(picture, 0, 0, canvas.width, canvas.height);
    const png = await (await canvas.convertToBlob({ type: "image/png" })).arrayBuffer();
    pngs.push({ png: new Uint8Array(png), duration: durations[moment.kind] });
  }
  return new Blob([animatedPng(pngs)], { type: "image/png" });
}
