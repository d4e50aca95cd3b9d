// What is dropped on the page or pasted into it, handed to the part that it is for. One listener for the whole window: a
// file that nobody takes must not make the browser leave the page.

/** A part of the page that takes things. */
export interface Taker {
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

/** Whether a transfer holds a file of a kind, also while it is dragged. */
export function holds(transfer: DataTransfer, kind: string): boolean {
  return [...transfer.items].some((item) => item.kind === "file" && item.type.startsWith(kind));
}

/** Begins to listen. */
export function listenForDrops(): void {
  const { dataset } = document.body;
  const leave = () => delete dataset.dropping;
  addEventListener("dragover", (event) => {
    const { dataTransfer } = event;
    if (!dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    const wanted = takers.some((taker) => taker.takes(dataTransfer));
    dataTransfer.dropEffect = wanted ? "copy" : "none";
    if (wanted) dataset.dropping = "true";
  });
  addEventListener("dragleave", (event) => {
    if (event.relatedTarget === null) leave();
  });
  addEventListener("drop", (event) => {
    leave();
    if (!event.dataTransfer?.types.includes("Files")) return;
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
  const taker = takers.find((each) => each.takes(transfer));
  taker?.take(transfer, target);
  return taker !== undefined;
}
