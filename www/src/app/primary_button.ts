// The one button that is the page's state.
import { fileSize } from "../shared/pace.ts";
import { element } from "./elements.ts";

const LABELS = {
  offered: "Get model",
  loading: "Loading…",
  downloading: "Pause",
  ready: "Generate",
  running: "Stop",
  stopping: "Stopping…",
  failed: "Load again",
  refused: "Use this page's own model",
} as const;
/** What the page is doing with its model. */
export type State = Exclude<keyof typeof LABELS, "refused">;

/** States that end by themselves, with the way out of each for when that takes long. */
const WAYS_OUT: Partial<Record<keyof typeof LABELS, string>> = { loading: "Cancel", stopping: "Stop now" };
/** Before this a way out would only flicker, or take a double click. */
const PATIENCE_MS = 2500;

const button = element("go", HTMLButtonElement);
let timer = 0;

/** Shows a state, or that the address was `refused`; `bytes` is the size of what `offered` offers, where it is known. */
export function showState(state: keyof typeof LABELS, bytes?: number): void {
  clearTimeout(timer);
  button.textContent = bytes === undefined ? LABELS[state] : `${LABELS[state]} (${fileSize(bytes)})`;
  document.body.dataset.state = state;
  const wayOut = WAYS_OUT[state];
  wait(wayOut !== undefined);
  if (wayOut === undefined) return;
  timer = window.setTimeout(() => {
    button.textContent = wayOut;
    wait(false);
  }, PATIENCE_MS);
}

/** Whether pressing does nothing at the moment. */
export function isWaiting(): boolean {
  return button.ariaDisabled === "true";
}

/** A button with `disabled` would lose the keyboard's focus. */
function wait(waiting: boolean): void {
  button.ariaDisabled = String(waiting);
}
