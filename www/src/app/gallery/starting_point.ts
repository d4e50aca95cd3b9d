import { EaselError } from "../../shared/errors.ts";
import type { GenerateParams } from "../../shared/protocol.ts";

/** What a picture was drawn from, as it was cut to its size. */
export interface StartingPoint {
  /** PNG. */
  image: Blob;
  /** `[height][width]`, 255 where it was drawn anew; absent where all of it was. */
  mask: Uint8Array<ArrayBuffer> | undefined;
  width: number;
  height: number;
  /** Bytes of both. */
  size: number;
}

/** The picture and mask of a run, under a key that is the hash of both; `undefined` for a run from noise. */
export async function startingPoint({
  image,
  mask_image,
  width,
  height,
}: GenerateParams): Promise<{ key: string; start: StartingPoint } | undefined> {
  if (!image) return undefined;
  const png = await encoded(new Uint8ClampedArray(image), width, height);
  const mask = mask_image && new Uint8Array(mask_image);
  const key = await hashOf(new Blob([`${width} ${height} ${png.size} `, png, mask ?? ""]));
  return { key, start: { image: png, mask, width, height, size: png.size + (mask?.length ?? 0) } };
}

async function encoded(rgba: Uint8ClampedArray<ArrayBuffer>, width: number, height: number): Promise<Blob> {
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d");
  if (!context) throw new EaselError("internal", "this browser gives no 2D canvas");
  context.putImageData(new ImageData(rgba, width, height), 0, 0);
  return canvas.convertToBlob();
}

async function hashOf(contents: Blob): Promise<string> {
  const hash = await crypto.subtle.digest("SHA-256", await contents.arrayBuffer());
  return Array.from(new Uint8Array(hash), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
