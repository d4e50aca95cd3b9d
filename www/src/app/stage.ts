import { element } from "./elements.ts";
import { glyph, make } from "./make.ts";

const frame = element("frame", HTMLElement);
const result = element("result", HTMLElement);
/** With less of the picture in view there is nothing to watch. */
const LEAST_SEEN = 0.6;
/** Lies over the live canvas and shows what is not on it: earlier steps, other pictures. */
const over = make("canvas", { id: "over", hidden: true, ariaHidden: "true" });
/** Which wish of `showOver` is the latest: decoding takes its time. */
let wish = 0;

/** Puts a fresh canvas on the stage and hands its drawing over; a canvas can be handed over only once. */
export function freshCanvas(): OffscreenCanvas {
  const canvas = make("canvas", { id: "canvas", ariaLabel: "No picture yet" });
  canvas.setAttribute("role", "img");
  frame.replaceChildren(canvas, over);
  if (over.hidden) frame.dataset.state = "empty";
  return canvas.transferControlToOffscreen();
}

/** Whether there has been no picture yet. */
export function isStageEmpty(): boolean {
  return frame.dataset.state === "empty";
}

/** Makes the stage ready for a picture of this size. */
export function beginPicture(prompt: string, width: number, height: number): void {
  reserve(width, height);
  frame.dataset.state = "drawing";
  frame.querySelector("canvas")?.setAttribute("aria-label", `Picture of: ${prompt}`);
}

/** Brings the picture into view where one column has scrolled it away; beside the form it stays in view by itself. */
export function showStage(): void {
  const { top, bottom } = frame.getBoundingClientRect();
  const seen = Math.min(bottom, innerHeight) - Math.max(top, 0);
  if (seen < LEAST_SEEN * (bottom - top)) frame.scrollIntoView({ block: "nearest" });
}

/** A picture that has begun is as far as it comes. */
export function endPicture(): void {
  if (frame.dataset.state === "drawing") frame.dataset.state = "done";
}

/** Gives the frame the picture's shape, so that nothing moves when it comes. */
export function reserve(width: number, height: number): void {
  if (!(width > 0 && height > 0)) return;
  frame.style.setProperty("aspect-ratio", `${width} / ${height}`);
  frame.style.setProperty("--ratio", String(width / height));
}

/** Shows `picture`, or with `undefined` the live canvas, and the sharp version of it once that is decoded. */
export function showOver(picture: HTMLCanvasElement | undefined, png?: Blob): void {
  wish += 1;
  over.hidden = picture === undefined;
  if (picture) {
    if (frame.dataset.state === "empty") frame.dataset.state = "done";
    draw(picture);
  }
  if (png) void sharpen(png, wish);
}

async function sharpen(png: Blob, wished: number): Promise<void> {
  const bitmap = await createImageBitmap(png);
  if (wished === wish) {
    draw(bitmap);
    over.hidden = false;
  }
  bitmap.close();
}

function draw(source: HTMLCanvasElement | ImageBitmap): void {
  over.width = source.width;
  over.height = source.height;
  over.getContext("2d")?.drawImage(source, 0, 0);
}

/** Offers a finished picture as a file, in the place of the one before. */
export function offerDownload(png: Blob, prompt: string, seed: number): void {
  const file = { href: URL.createObjectURL(png), download: fileName(prompt, seed) };
  const link = make("a", { className: "button", ...file }, glyph("save"), make("span", {}, "Download PNG"));
  withdrawDownload();
  result.append(link);
}

export function withdrawDownload(): void {
  const link = result.querySelector<HTMLAnchorElement>("a[download]");
  if (link) URL.revokeObjectURL(link.href);
  link?.remove();
}

/** "a-red-apple-42.png". */
export function fileName(prompt: string, seed: number, suffix = ""): string {
  const words = prompt.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? ["picture"];
  return `${words.slice(0, 8).join("-").slice(0, 60)}-${seed}${suffix}.png`;
}
