import { EaselError } from "../shared/errors.ts";

/** A decoded picture as a PNG file. */
export async function encodePng(width: number, height: number, rgba: Uint8Array): Promise<Blob> {
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d");
  if (!context) throw new EaselError("internal", "the browser gave no 2D canvas to encode the picture with");
  context.putImageData(new ImageData(new Uint8ClampedArray(rgba), width, height), 0, 0);
  return canvas.convertToBlob({ type: "image/png" });
}
