// The ways to give files to the page: two buttons, and the whole window as a target for drops.
import type { GivenFile } from "../shared/protocol.ts";
import { filesOfDrop, filesOfField, filesOfFolder } from "./collect_files.ts";
import { element } from "./elements.ts";
import { chooseFolder } from "./folder_picker.ts";

/** Takes files that are still being collected. */
type Take = (files: Promise<GivenFile[]>) => void;

/** Lets `take` have whatever files the user gives. */
export function setUpFileOpeners(take: Take): void {
  const folder = field("folder-input", take);
  const file = field("file-input", take);
  element("open-file", HTMLButtonElement).addEventListener("click", () => file.click());
  element("open-folder", HTMLButtonElement).addEventListener("click", async () => {
    const chosen = await chooseFolder("read");
    // Browsers without the picker have the field, which speaks of uploads although nothing leaves the device.
    if (chosen === "unsupported") folder.click();
    else if (chosen !== "cancelled") take(filesOfFolder(chosen));
  });
  setUpDrops(take);
}

function field(id: string, take: Take): HTMLInputElement {
  const input = element(id, HTMLInputElement);
  input.addEventListener("change", () => {
    if (!input.files) return;
    take(Promise.resolve(filesOfField(input.files)));
    // The same files may be given again.
    input.value = "";
  });
  return input;
}

function setUpDrops(take: Take): void {
  const hint = element("drop-hint", HTMLElement);
  const hasFiles = ({ dataTransfer }: DragEvent) => dataTransfer?.types.includes("Files") ?? false;
  const over = (event: DragEvent) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    hint.hidden = false;
  };
  addEventListener("dragenter", over);
  addEventListener("dragover", over);
  addEventListener("dragleave", ({ relatedTarget }) => {
    if (!relatedTarget) hint.hidden = true;
  });
  addEventListener("drop", (event) => {
    hint.hidden = true;
    if (!event.dataTransfer || !hasFiles(event)) return;
    event.preventDefault();
    take(filesOfDrop(event.dataTransfer));
  });
}
