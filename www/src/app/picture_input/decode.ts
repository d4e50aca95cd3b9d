import { EaselError } from "../../shared/errors.ts";
import { readPng } from "../../shared/png_text.ts";

const LARGEST_FILE = 100_000_000;
const MOST_PIXELS = 1 << 26;
/** Longer sides are of no use to any model, and of much memory. */
const LONGEST_SIDE = 2048;

/** A file as a picture, at most 2048 pixels a side; throws `bad_picture`. */
export async function decodePicture(file: Blob): Promise<ImageBitmap> {
  if (file.size > LARGEST_FILE)
    throw new EaselError("bad_picture", "the picture is larger than 100 MB: make it smaller");
  const png = await readPng(file);
  if (png && png.width * png.height > MOST_PIXELS) throw tooLarge();
  const bitmap = await decoded(file);
  const { width, height } = bitmap;
  const scale = LONGEST_SIDE / Math.max(width, height);
  if (scale >= 1) return bitmap;
  const side = (length: number) => Math.max(1, Math.round(length * scale));
  const options = { resizeWidth: side(width), resizeHeight: side(height), resizeQuality: "high" } as const;
  const small = await createImageBitmap(bitmap, { ...options, premultiplyAlpha: "none" });
  bitmap.close();
  return small;
}

async function decoded(file: Blob): Promise<ImageBitmap> {
  try {
    return await createImageBitmap(file, { premultiplyAlpha: "none", imageOrientation: "from-image" });
  } catch (cause) {
    const advice = "try a PNG, JPEG or WebP file";
    throw new EaselError("bad_picture", `the browser cannot read this picture: ${advice}`, { cause });
  }
}

function tooLarge(): EaselError {
  return new EaselError("bad_picture", "the picture has more than 67 million pixels: make it smaller");
}
