// The ways to give files to the page: two buttons, and the whole window as a target for drops.
import type { GivenFile } from "../shared/protocol.ts";
import { filesOfDrop, filesOfField, filesOfFolder } from "./collect_files.ts";
import { holdsOnly, registerTaker } from "./drop.ts";
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
  registerTaker({
    hint: "Drop a model's folder or .safetensors file to open it",
    takes: (transfer) => transfer.types.includes("Files") && !holdsOnly(transfer, "image/"),
    take: (transfer) => take(filesOfDrop(transfer)),
  });
}

function field(id: string, take: Take): HTMLInputElement {
  const input = element(id, HTMLInputElement);
  input.addEventListener("change", () => {
    if (!input.files) return;
    take(filesOfField([...input.files]));
    // The same files may be given again.
    input.value = "";
  });
  return input;
}
