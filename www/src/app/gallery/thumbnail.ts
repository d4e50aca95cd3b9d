const LONGEST_SIDE = 320;

/** A small copy of a picture; `undefined` where the browser cannot make one. */
export async function thumbnailOf(file: Blob): Promise<Blob | undefined> {
  try {
    const bitmap = await createImageBitmap(file);
    const scale = Math.min(1, LONGEST_SIDE / Math.max(bitmap.width, bitmap.height));
    const side = (length: number) => Math.max(1, Math.round(length * scale));
    const canvas = new OffscreenCanvas(side(bitmap.width), side(bitmap.height));
    const context = canvas.getContext("2d");
    if (!context) return undefined;
    context.imageSmoothingQuality = "high";
    context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
    bitmap.close();
    // A browser that does not write WebP writes PNG.
    return await canvas.convertToBlob({ type: "image/webp", quality: 0.85 });
  } catch {
    return undefined;
  }
}
