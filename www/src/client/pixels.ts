import { EaselError } from "../shared/errors.ts";

/**
 * Any picture of the browser as 8-bit RGBA of `width * height * 4` bytes, stretched to that size. Throws `bad_parameter` for
 * what is no picture; `name` is what it was given as.
 */
export async function pixelsOf(
  name: string,
  source: ImageBitmapSource,
  width: number,
  height: number,
): Promise<Uint8ClampedArray> {
  const size = { resizeWidth: width, resizeHeight: height, resizeQuality: "high" } as const;
  try {
    const bitmap = await createImageBitmap(source, size);
    const context = new OffscreenCanvas(width, height).getContext("2d");
    context?.drawImage(bitmap, 0, 0);
    bitmap.close();
    if (context) return context.getImageData(0, 0, width, height).data;
  } catch (cause) {
    throw new EaselError("bad_parameter", `\`${name}\` cannot be read as a picture of ${width}×${height}`, {
      cause,
    });
  }
  throw new EaselError("internal", "the browser gave no 2D canvas to read the picture with");
}

/** How bright each pixel is, where it is opaque: `width * height` bytes of RGBA's. */
export function brightness(rgba: Uint8ClampedArray): Uint8Array {
  const bytes = new Uint8Array(rgba.length / 4);
  for (let at = 0; at < bytes.length; at += 1) {
    const [red = 0, green = 0, blue = 0, alpha = 0] = rgba.subarray(4 * at, 4 * at + 4);
    bytes[at] = Math.round(((0.299 * red + 0.587 * green + 0.114 * blue) * alpha) / 255);
  }
  return bytes;
}
