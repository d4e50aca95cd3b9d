import { make } from "./make.ts";

const READ_BY_THEN_MS = 60_000;

/** Hands a file over to the user's downloads. */
export function saveFile(file: Blob, name: string): void {
  const url = URL.createObjectURL(file);
  make("a", { href: url, download: name }).click();
  // The browser reads the file after the click has returned.
  setTimeout(() => URL.revokeObjectURL(url), READ_BY_THEN_MS);
}
