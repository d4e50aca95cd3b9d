// The engine's API as a React component: it draws while it is mounted, and stops when it is not.
import type { EaselError } from "easel";
import { useEffect, useRef, useState } from "react";
import { draw } from "./draw";

interface Props {
  model: string;
  prompt: string;
}

export function PictureOf({ model, prompt }: Props) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const [asked, setAsked] = useState(false);
  const [status, setStatus] = useState("");

  useEffect(() => {
    if (!asked) return;
    const stop = new AbortController();
    draw(model, prompt, canvas.current, setStatus, stop.signal).catch((error: EaselError) => {
      if (error.name !== "AbortError") setStatus(error.message);
    });
    return () => stop.abort();
  }, [asked, model, prompt]);

  return (
    <figure>
      <canvas ref={canvas} role="img" aria-label={prompt} />
      <button type="button" onClick={() => setAsked(true)} disabled={asked}>
        Draw
      </button>
      <figcaption role="status">{status}</figcaption>
    </figure>
  );
}
