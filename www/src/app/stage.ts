import { element } from "./elements.ts";

const frame = element("frame", HTMLElement);
const result = element("result", HTMLElement);

/** Puts a fresh canvas on the stage and hands its drawing over; a canvas can be handed over only once. */
export function freshCanvas(): OffscreenCanvas {
  const canvas = document.createElement("canvas");
  canvas.id = "canvas";
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", "No picture yet");
  frame.replaceChildren(canvas);
  frame.dataset.state = "empty";
  return canvas.transferControlToOffscreen();
}

/** Makes the stage ready for a picture of this size. */
export function beginPicture(prompt: string, width: number, height: number): void {
  frame.style.setProperty("aspect-ratio", `${width} / ${height}`);
  frame.style.setProperty("--ratio", String(width / height));
  frame.dataset.state = "drawing";
  frame.querySelector("canvas")?.setAttribute("aria-label", `Picture of: ${prompt}`);
  withdrawDownload();
}

export function endPicture(): void {
  frame.dataset.state = "done";
}

/** Offers the finished picture as a file. */
export function offerDownload(png: Blob, prompt: string, seed: number): void {
  const link = document.createElement("a");
  link.className = "button";
  link.href = URL.createObjectURL(png);
  link.download = fileName(prompt, seed);
  link.textContent = "Download PNG";
  result.replaceChildren(link);
}

function withdrawDownload(): void {
  const link = result.querySelector("a");
  if (link) URL.revokeObjectURL(link.href);
  result.replaceChildren();
}

/** "a-red-apple-42.png". */
export function fileName(prompt: string, seed: number): string {
  const words = prompt.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? ["picture"];
  return `${words.slice(0, 8).join("-").slice(0, 60)}-${seed}.png`;
}
