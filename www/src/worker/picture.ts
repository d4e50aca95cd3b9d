import { EaselError } from "../shared/errors.ts";

/** 8-bit RGBA as the browser takes it. */
export function pixels(width: number, height: number, rgba: Uint8Array): ImageData {
  return new ImageData(new Uint8ClampedArray(rgba), width, height);
}

/** A decoded picture as a PNG file. */
export async function encodePng(picture: ImageData): Promise<Blob> {
  const canvas = new OffscreenCanvas(picture.width, picture.height);
  const context = canvas.getContext("2d");
  if (!context) throw new EaselError("internal", "the browser gave no 2D canvas to encode the picture with");
  context.putImageData(picture, 0, 0);
  return canvas.convertToBlob({ type: "image/png" });
}

/** Most pixels of a snapshot's long side. */
const SNAPSHOT_SIDE = 256;

/**
 * A picture made small, for events. What WebGPU drew on a canvas is gone from it with the next frame: this is to be called
 * in the task that drew.
 */
export function snapshot(source: OffscreenCanvas | ImageData): Promise<ImageBitmap> {
  const scale = Math.min(1, SNAPSHOT_SIDE / Math.max(source.width, source.height));
  const side = (length: number) => Math.max(1, Math.round(length * scale));
  const options = {
    resizeWidth: side(source.width),
    resizeHeight: side(source.height),
    resizeQuality: "medium",
  } as const;
  return createImageBitmap(source, scale < 1 ? options : {});
}
