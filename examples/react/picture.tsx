// The engine's API as a React component: it draws when it is asked to, and stops when it is taken out.
import type { EaselError } from "easel";
import { useEffect, useRef, useState } from "react";
import { draw } from "./draw";

interface Props {
  model: string;
  prompt: string;
}

export function PictureOf({ model, prompt }: Props) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const [drawing, setDrawing] = useState(false);
  const [status, setStatus] = useState("");

  useEffect(() => {
    if (!drawing || !canvas.current) return;
    const stop = new AbortController();
    draw(model, prompt, canvas.current, setStatus, stop.signal)
      .catch((error: EaselError) => {
        if (error.name !== "AbortError") setStatus(error.message);
      })
      .finally(() => {
        if (!stop.signal.aborted) setDrawing(false);
      });
    return () => stop.abort();
  }, [drawing, model, prompt]);

  return (
    <figure>
      <canvas ref={canvas} role="img" aria-label={prompt} />
      <button type="button" onClick={() => setDrawing(true)} disabled={drawing}>
        Draw
      </button>
      <figcaption role="status">{status}</figcaption>
    </figure>
  );
}
