// What is dropped on the page or pasted into it, handed to the part that it is for. One listener for the whole window: a
// file that nobody takes must not make the browser leave the page.
import { element } from "./elements.ts";
import { make } from "./make.ts";

/** A part of the page that takes things. */
export interface Taker {
  /** What happens to things that are let go. */
  hint: string;
  /** Whether these are for it. While they are dragged, only kinds and types are known, no contents. */
  takes: (transfer: DataTransfer) => boolean;
  /** Takes them; the transfer can be read until this returns. `target` is what they were dropped on. */
  take: (transfer: DataTransfer, target: EventTarget | null) => void;
}

const takers: Taker[] = [];

/** Lets a part of the page take what is dropped and pasted; the first that wants it gets it. */
export function registerTaker(taker: Taker): void {
  takers.push(taker);
}

/** The files of a transfer that are of a kind: `image/`. Names and types are what the sender says. */
export function filesOf(transfer: DataTransfer, kind: string): File[] {
  return [...transfer.files].filter(({ type }) => type.startsWith(kind));
}

/** Whether the files of a transfer are all of a kind, also while they are dragged. */
export function holdsOnly(transfer: DataTransfer, kind: string): boolean {
  const files = [...transfer.items].filter((item) => item.kind === "file");
  return files.length > 0 && files.every(({ type }) => type.startsWith(kind));
}

/** Begins to listen. */
export function listenForDrops(): void {
  const hint = element("drop-hint", HTMLElement);
  // Browsers offer a picture that is dragged within the page as a file, too.
  let own = false;
  addEventListener("dragstart", () => {
    own = true;
  });
  addEventListener("dragend", () => {
    own = false;
  });
  const hasFiles = ({ types }: DataTransfer) => !own && types.includes("Files");
  const over = (event: DragEvent) => {
    const { dataTransfer } = event;
    if (!dataTransfer || !hasFiles(dataTransfer)) return;
    event.preventDefault();
    const taker = takerOf(dataTransfer);
    dataTransfer.dropEffect = taker ? "copy" : "none";
    hint.hidden = !taker;
    if (taker) hint.replaceChildren(make("p", {}, taker.hint));
  };
  addEventListener("dragenter", over);
  addEventListener("dragover", over);
  addEventListener("dragleave", ({ relatedTarget }) => {
    if (!relatedTarget) hint.hidden = true;
  });
  addEventListener("drop", (event) => {
    hint.hidden = true;
    if (!event.dataTransfer || !hasFiles(event.dataTransfer)) return;
    event.preventDefault();
    hand(event.dataTransfer, event.target);
  });
  addEventListener("paste", (event) => {
    // A text that comes with a picture of itself, as from office programs, is a text.
    const { clipboardData } = event;
    if (!clipboardData || clipboardData.types.includes("text/plain")) return;
    if (hand(clipboardData, event.target)) event.preventDefault();
  });
}

function hand(transfer: DataTransfer, target: EventTarget | null): boolean {
  const taker = takerOf(transfer);
  taker?.take(transfer, target);
  return taker !== undefined;
}

function takerOf(transfer: DataTransfer): Taker | undefined {
  return takers.find((taker) => taker.takes(transfer));
}
