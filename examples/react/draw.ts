import { Easel, type Picture } from "easel";

/** Draws on a canvas, which gets the picture's size, and says how far it is; ends by `signal`. */
export async function draw(
  model: string,
  prompt: string,
  canvas: HTMLCanvasElement,
  say: (status: string) => void,
  signal: AbortSignal,
): Promise<Picture> {
  const easel = await Easel.load(model, { signal, onProgress: ({ stage }) => say(stage) });
  try {
    const { width, height } = easel.info;
    Object.assign(canvas, { width, height });
    // Steps are smaller than the picture.
    const paint = (bitmap: ImageBitmap) => {
      canvas.getContext("2d")?.drawImage(bitmap, 0, 0, width, height);
      bitmap.close();
    };
    const run = easel.generate({ prompt, signal });
    for await (const step of run) {
      paint(step.picture);
      say(`${step.index}/${step.total}`);
    }
    const picture = await run.result;
    paint(await createImageBitmap(picture.png));
    say(`Seed ${picture.seed}`);
    return picture;
  } finally {
    easel.dispose();
  }
}
