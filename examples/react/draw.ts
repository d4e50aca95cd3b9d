import { Easel, type Picture } from "easel";

/** Draws on a canvas, and says how far it is; ends by `signal`. */
export async function draw(
  model: string,
  prompt: string,
  canvas: HTMLCanvasElement | null,
  say: (status: string) => void,
  signal: AbortSignal,
): Promise<Picture> {
  const easel = await Easel.load(model, { signal, onProgress: ({ stage }) => say(stage) });
  try {
    const run = easel.generate({ prompt, signal });
    for await (const { index, total, picture } of run) {
      canvas?.getContext("2d")?.drawImage(picture, 0, 0, canvas.width, canvas.height);
      picture.close();
      say(`${index}/${total}`);
    }
    const picture = await run.result;
    say(`Seed ${picture.seed}`);
    return picture;
  } finally {
    easel.dispose();
  }
}
